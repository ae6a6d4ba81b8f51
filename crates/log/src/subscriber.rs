//! Receives what code logs by `tracing`. Spans are ignored: adit has none.

use crate::record::Record;
use crate::shared::Shared;
use adit_service::log::TargetId;
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};

/// The receiver of the process.
pub(crate) struct Receiver(pub(crate) Arc<Shared>);

impl Receiver {
    fn target_of(&self, metadata: &Metadata<'_>) -> Option<TargetId> {
        let target = TargetId::of_module(metadata.target()).filter(|_| metadata.is_event())?;
        self.0.has(target, *metadata.level()).then_some(target)
    }
}

impl Subscriber for Receiver {
    /// The answer is kept until [`tracing::callsite::rebuild_interest_cache`].
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.target_of(metadata).is_some() { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.target_of(metadata).is_some()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.most())
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let Some(target) = self.target_of(metadata) else { return };
        let mut fields = Fields::default();
        event.record(&mut fields);
        let place = (metadata.file().unwrap_or_default(), metadata.line().unwrap_or_default());
        self.0.write(&Record {
            time: SystemTime::now(),
            level: *metadata.level(),
            fields: fields.others,
            place: Some(place),
            ..Record::new(target, "log", fields.message)
        });
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of a call: its message, and the others by name.
#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value.into());
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }
}
