//! The push service: notifies the devices that did not get a message, each once, and loses no job.

mod provider;
