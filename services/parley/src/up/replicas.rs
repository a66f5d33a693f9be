//! `--replicas connection=2,message=2`.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::ValueEnum;

use crate::service::Kind;

/// Most replicas of one service: this is one machine.
const MOST: usize = 64;

/// How many of each service; one of those not named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replicas(BTreeMap<Kind, usize>);

impl Replicas {
    /// Of this service.
    pub fn of(&self, kind: Kind) -> usize {
        self.0.get(&kind).copied().unwrap_or(1)
    }
}

impl FromStr for Replicas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut replicas = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, number) = part
                .split_once('=')
                .ok_or_else(|| format!("expected SERVICE=N, got {part:?}"))?;
            let kind = Kind::from_str(name, false).map_err(|_| {
                let names = Kind::ALL.map(Kind::name).join(", ");
                format!("no service is called {name:?}; there are {names}")
            })?;
            let number = number.parse().ok().filter(|number| (1..=MOST).contains(number));
            let number = number.ok_or_else(|| format!("expected {name}=N with N from 1 to {MOST}, got {part:?}"))?;
            if replicas.0.insert(kind, number).is_some() {
                return Err(format!("{name} is named twice"));
            }
        }
        Ok(replicas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_not_named_has_one() {
        let replicas: Replicas = "connection=3".parse().unwrap();
        assert_eq!((replicas.of(Kind::Connection), replicas.of(Kind::Message)), (3, 1));
        assert_eq!("".parse(), Ok(Replicas::default()));
        assert_eq!(
            "message=2,connection=2".parse::<Replicas>().unwrap().of(Kind::Message),
            2
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (text, says) in [
            ("connection", "expected SERVICE=N"),
            ("conection=2", "there are connection, push, message"),
            ("message=0", "from 1 to 64"),
            ("message=many", "from 1 to 64"),
            ("message=1,message=2", "named twice"),
        ] {
            let error = text.parse::<Replicas>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
