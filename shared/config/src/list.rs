//! Lists: in a file as such, in the environment, which has none, as one text with commas.

use serde::{Deserialize, Deserializer, Serializer};

/// As one text: an empty list would vanish from the layer that [`crate::Config::load`] makes of the defaults.
pub(crate) fn serialize<S: Serializer>(list: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&list.join(","))
}

/// Either form; empty parts are left out.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        List(Vec<String>),
    }
    let list = match Either::deserialize(deserializer)? {
        Either::Text(text) => text.split(',').map(|part| part.trim().to_owned()).collect(),
        Either::List(list) => list,
    };
    Ok(list.into_iter().filter(|part: &String| !part.is_empty()).collect())
}
