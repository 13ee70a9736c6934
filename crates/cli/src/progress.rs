//! A bar for long work, fed by the spans that every room opens: stages by name, kernels and steps
//! by count.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Work that is over by then needs no bar.
const PATIENCE: Duration = Duration::from_millis(500);

/// Spans that say what is going on. A field `of` is the number of [`PARTS`] to come.
const STAGES: &[&str] = &[
    "import", "optimize", "lower", "kernels", "emit", "save", "load", "run",
];

/// Spans that are counted within a stage.
const PARTS: &[&str] = &["kernel", "step"];

/// Counts closing spans on a bar.
pub(crate) struct Progress {
    bar: ProgressBar,
    start: Instant,
}

impl Progress {
    /// A bar that appears on stderr when the work takes long.
    pub(crate) fn new() -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress {
            bar,
            start: Instant::now(),
        }
    }

    pub(crate) fn bar(&self) -> &ProgressBar {
        &self.bar
    }

    fn show(&self) {
        if self.bar.is_hidden() && self.start.elapsed() >= PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

/// The field `of` of a span.
struct Of(Option<u64>);

impl Visit for Of {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "of" {
            self.0 = Some(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Progress {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let name = attributes.metadata().name();
        if STAGES.contains(&name) {
            let mut of = Of(None);
            attributes.record(&mut of);
            self.bar.set_length(of.0.unwrap_or(0));
            self.bar.set_position(0);
            self.bar.set_message(name);
            self.show();
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let name = span.name();
        if PARTS.contains(&name) {
            self.bar.inc(1);
            self.show();
        } else if STAGES.contains(&name) {
            // Results come after it: the line is theirs.
            self.bar.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn closing_kernels_move_the_bar() {
        let progress = Progress::new();
        let bar = progress.bar().clone();
        let subscriber = tracing_subscriber::registry().with(progress);
        tracing::subscriber::with_default(subscriber, || {
            let _stage = tracing::info_span!("emit", of = 3_usize).entered();
            assert_eq!((bar.length(), bar.position()), (Some(3), 0));
            for name in ["kernel", "kernel", "near"] {
                match name {
                    "kernel" => drop(tracing::debug_span!("kernel").entered()),
                    _ => drop(tracing::debug_span!("something else").entered()),
                }
            }
            assert_eq!((bar.position(), bar.message().as_str()), (2, "emit"));
            let _next = tracing::debug_span!("run", of = 7_usize).entered();
            assert_eq!((bar.length(), bar.position()), (Some(7), 0));
        });
        assert!(bar.is_hidden());
    }
}
