//! Durable consumers: made where they are not there, and brought to the configured number of copies where they are.

use async_nats::jetstream::consumer::{FromConsumer, PullConsumer, pull};

use crate::Bus;

/// The consumer with this configuration's name; the rest of the configuration counts where it is not there yet, and the
/// number of copies in any case.
///
/// # Errors
/// NATS refused or did not answer, in words.
pub async fn open(bus: &Bus, stream: &str, config: pull::Config) -> Result<PullConsumer, String> {
    let stream = bus.jetstream.get_stream_no_info(stream).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let name = config.durable_name.clone().unwrap_or_default();
    let replicas = config.num_replicas;
    let consumer = match stream.get_consumer::<pull::Config>(&name).await {
        Ok(consumer) => consumer,
        Err(_) => {
            let made = stream.get_or_create_consumer(&name, config).await;
            made.map_err(|error| error.to_string())?
        }
    };
    let known = &consumer.cached_info().config;
    if known.num_replicas == replicas {
        return Ok(consumer);
    }
    let known = pull::Config::try_from_consumer_config(known.clone()).map_err(|error| error.to_string())?;
    let changed = pull::Config {
        num_replicas: replicas,
        ..known
    };
    match stream.update_consumer(changed).await {
        Ok(consumer) => Ok(consumer),
        Err(error) => {
            // It works as it is; the next start tries again.
            tracing::warn!(consumer = name, replicas, %error, "a consumer keeps its number of copies");
            Ok(consumer)
        }
    }
}
