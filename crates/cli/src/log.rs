//! Where events go: stderr by level, a Chrome trace, and a bar on a terminal.

use std::io::{self, IsTerminal, Write};

use indicatif::ProgressBar;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::args::Global;
use crate::progress::Progress;

/// What everything in Alula says; of crates that are not ours, only what they warn of. A code
/// generator's own log of one kernel is longer than ours of a model.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::new(format!("warn,alula={level}"))
}

/// Starts logging; the trace file is complete once the guard is dropped. `ALULA_LOG` overrides
/// `-v`, in the syntax of `tracing-subscriber`'s `EnvFilter`. Spans are told when they close, with
/// the time they took.
pub(crate) fn start(global: &Global, has_bar: bool) -> Option<tracing_chrome::FlushGuard> {
    let level = match global.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let is_terminal = io::stderr().is_terminal();
    let asked = EnvFilter::try_from_env("ALULA_LOG");
    // Lines and a bar do not go together.
    let has_bar = has_bar && is_terminal && global.verbose == 0 && asked.is_err();
    let progress = has_bar.then(Progress::new);
    let bar = progress.as_ref().map(|progress| progress.bar().clone());
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(Stderr(bar))
        .with_ansi(is_terminal)
        .with_target(global.verbose > 1)
        .with_span_events(FmtSpan::CLOSE)
        // No time of day, but that of spans.
        .with_timer(())
        .with_filter(asked.unwrap_or_else(|_| filter(level)));
    let (chrome, guard) = match &global.trace {
        Some(file) => {
            let (layer, guard) = tracing_chrome::ChromeLayerBuilder::new()
                .file(file)
                .include_args(true)
                .build();
            (Some(layer.with_filter(filter("trace"))), Some(guard))
        }
        None => (None, None),
    };
    tracing_subscriber::registry()
        .with(stderr)
        .with(chrome)
        .with(progress.map(|progress| progress.with_filter(filter("trace"))))
        .init();
    guard
}

/// Standard error, with the bar out of the way while something is written.
#[derive(Clone)]
struct Stderr(Option<ProgressBar>);

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        self.clone()
    }
}

/// A bar of so many steps on stderr; nothing where that is no terminal.
pub(crate) fn bar(steps: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
    bar
}
