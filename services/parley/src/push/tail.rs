//! `parley push tail`: prints each push that the played providers accept, as it comes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::Value;

use crate::{data_dir, running};

/// How long one question waits for an answer.
const WAIT: Duration = Duration::from_secs(25);

/// What `parley push tail` takes.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The deployment's folder
    #[arg(long, value_name = "DIR", default_value = data_dir::DEFAULT)]
    data: PathBuf,
    /// One JSON object a line, with all fields
    #[arg(long)]
    json: bool,
    /// Print what there is and end
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Deserialize)]
struct Page {
    shown: Vec<Value>,
    next: u64,
}

pub(super) async fn run(options: &Options) -> anyhow::Result<()> {
    let Some(port) = running::port(&options.data, "fake-push") else {
        bail!(
            "no deployment in {} plays phones: start it with `parley up --fake-push`",
            options.data.display()
        );
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(WAIT + Duration::from_secs(5))
        .build()?;
    let mut after = 0;
    loop {
        let wait = if options.once { 0 } else { WAIT.as_millis() };
        let url = format!("http://127.0.0.1:{port}/shown?after={after}&wait_ms={wait}");
        let answer = client.get(url).send().await.context("the deployment has ended")?;
        let page: Page = answer.error_for_status()?.json().await?;
        for shown in &page.shown {
            println!("{}", if options.json { shown.to_string() } else { line(shown) });
        }
        after = page.next;
        if options.once && page.shown.is_empty() {
            return Ok(());
        }
    }
}

/// As a phone would show it. The texts come from outside: nothing in them moves the terminal's cursor.
fn line(shown: &Value) -> String {
    let text = |key: &str| shown[key].as_str().unwrap_or_default().escape_debug().to_string();
    let badge = shown["badge"]
        .as_u64()
        .map_or_else(String::new, |badge| format!("  [{badge}]"));
    let token: String = text("token").chars().take(8).collect();
    let head = format!("{}  {}  {token}…{badge}", text("at"), text("provider"));
    if shown["silent"].as_bool() == Some(true) {
        return format!("{head}  (silent)");
    }
    format!("{head}  {}: {}", text("title"), text("body"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_push_is_one_line_whatever_is_in_it() {
        let shown = json!({"at": "T", "provider": "apns", "token": "abcdefghij", "badge": 3, "silent": false,
            "title": "Ann", "body": "two\nlines \u{1b}[2J"});
        assert_eq!(line(&shown), "T  apns  abcdefgh…  [3]  Ann: two\\nlines \\u{1b}[2J");
        let silent = json!({"at": "T", "provider": "fcm", "token": "abc", "badge": 0, "silent": true});
        assert_eq!(line(&silent), "T  fcm  abc…  [0]  (silent)");
    }
}
