//! Why JSON could not be read, without quoting it: what stands in an entry or a request is not for the log.

use std::fmt;

/// An error's kind and place. The words of `serde_json` quote values, such as `invalid type: string "…"`.
#[derive(Debug)]
pub struct Quiet<'a>(pub &'a serde_json::Error);

impl fmt::Display for Quiet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let words = text.split(" at line ").next().unwrap_or_default();
        // The name of a field that is missing is ours; what follows these signs elsewhere may be a value.
        let words = match words.starts_with("missing field ") {
            true => words,
            false => words.split(['`', '"', ':']).next().unwrap_or_default(),
        };
        write!(
            f,
            "{} at line {} column {}",
            words.trim(),
            self.0.line(),
            self.0.column()
        )
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
    }

    #[derive(Debug, Deserialize)]
    struct Thing {
        #[expect(dead_code, reason = "only read from JSON")]
        number: u8,
        #[expect(dead_code, reason = "only read from JSON")]
        colour: Colour,
    }

    #[test]
    fn no_value_is_quoted() {
        assert!(matches!(serde_json::from_str(r#""red""#), Ok(Colour::Red)));
        for (json, told) in [
            (r#"{"number":"secret"}"#, "invalid type at line 1 column 18"),
            (
                r#"{"number":7,"colour":"secret"}"#,
                "unknown variant at line 1 column 29",
            ),
            (r#"{"number":777}"#, "invalid value at line 1 column 13"),
            (r#"{"colour":"red"}"#, "missing field `number` at line 1 column 16"),
            (r#"{"number":7,secret"#, "key must be a string at line 1 column 13"),
        ] {
            let error = serde_json::from_str::<Thing>(json).unwrap_err();
            assert_eq!(Quiet(&error).to_string(), told, "{json}");
        }
    }
}
