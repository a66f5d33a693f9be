//! JSON as Google reads it for protocol buffers.
//!
//! Unknown names are errors, null is as good as left out, and names may be written in camel case.

use serde_json::{Map, Value};

/// Fields under their names in the schema.
pub(crate) type Fields = Map<String, Value>;

/// Why Google does not take a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) field: String,
    pub(crate) description: String,
    /// Whether it does not even fit the schema.
    pub(crate) malformed: bool,
}

/// What does not fit the schema.
pub(crate) fn malformed(field: &str, description: impl Into<String>) -> Wrong {
    Wrong {
        field: field.to_owned(),
        description: description.into(),
        malformed: true,
    }
}

/// What fits the schema and is wrong nevertheless.
pub(crate) fn wrong(field: &str, description: &str) -> Wrong {
    Wrong {
        field: field.to_owned(),
        description: description.to_owned(),
        malformed: false,
    }
}

/// An object's fields under their names in the schema, without those that are null.
pub(crate) fn fields(value: Option<Value>, place: &str, known: &[&str]) -> Result<Fields, Wrong> {
    let given = match value {
        None | Some(Value::Null) => return Ok(Fields::new()),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(malformed(place, format!("Invalid value at '{place}': not an object"))),
    };
    let mut fields = Fields::new();
    for (name, value) in given {
        let schema_name = snake(&name);
        if !known.contains(&schema_name.as_str()) {
            let description = format!("Invalid JSON payload received. Unknown name \"{name}\" at '{place}'");
            return Err(malformed(place, description));
        }
        if !value.is_null() {
            fields.insert(schema_name, value);
        }
    }
    Ok(fields)
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// Checks that these fields are texts where they are given.
pub(crate) fn texts(fields: &Fields, place: &str, names: &[&str]) -> Result<(), Wrong> {
    let bad = names
        .iter()
        .find(|name| fields.get(**name).is_some_and(|it| !it.is_string()));
    match bad {
        None => Ok(()),
        Some(name) => {
            let field = format!("{place}.{name}");
            let description = format!("Invalid value at '{field}' (TYPE_STRING)");
            Err(malformed(&field, description))
        }
    }
}
