//! The Kubernetes manifests held against the code: settings, environment variables, ports, probes, flows, files.
//!
//! The files as they are in the repository are read, not rendered ones: what rendering and the schemas say is
//! `k8s/validate.py`'s work. Values are loaded by the real [`config::Config::load_from`].
#![expect(clippy::unwrap_used, reason = "a test binary has no users")]

mod files;
mod flows;
mod manifests;
mod operator;
mod pods;
mod ports;
mod rules;
mod settings;
