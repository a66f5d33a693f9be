//! Push providers that check like the real ones: APNs, FCM with its token endpoint, and a browser's push service.
//!
//! System tests start them in their own process; `parley up --fake-push` starts them so that a person sees what a
//! phone would have shown. They listen on loopback, with certificates of an authority of their own. Nothing is sent
//! to anybody; what of the providers' behaviour is not played is said at the top of each provider's file.

mod answer;
mod apns;
mod apns_payload;
mod apns_token;
mod authority;
mod counters;
mod devices;
mod ece;
mod fake;
mod fcm;
mod fcm_message;
mod form;
mod google;
mod handle;
mod jwt;
mod keys;
mod link;
mod oauth;
mod options;
mod page;
mod proto_json;
mod records;
mod script;
mod server;
mod shown;
mod subscriptions;
mod vapid;
mod webpush;
mod world;

#[cfg(test)]
mod apns_tests;
#[cfg(test)]
mod fake_tests;
#[cfg(test)]
mod fcm_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod script_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod webpush_tests;

pub use counters::{Counters, Counts};
pub use fake::FakePush;
pub use options::{APPS, KEY_ID, Listener, Options, PROJECT, Ports, Provider, Recording, TEAM_ID, TokenUri};
pub use records::Missed;
pub use script::{Act, Answer, Rule};
pub use shown::{Seen, Shown};
