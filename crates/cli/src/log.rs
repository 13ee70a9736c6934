//! Where events go: stderr by level, and a Chrome trace.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::args::Global;

/// Starts logging; the trace file is complete once the guard is dropped. `ALULA_LOG` overrides
/// `-v`, in the syntax of `tracing-subscriber`'s `EnvFilter`.
pub(crate) fn start(global: &Global) -> Option<tracing_chrome::FlushGuard> {
    let level = match global.verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("ALULA_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(global.verbose > 1)
        .without_time()
        .with_filter(filter);
    let (chrome, guard) = match &global.trace {
        Some(file) => {
            let (layer, guard) = tracing_chrome::ChromeLayerBuilder::new()
                .file(file)
                .include_args(true)
                .build();
            (Some(layer), Some(guard))
        }
        None => (None, None),
    };
    tracing_subscriber::registry()
        .with(stderr)
        .with(chrome)
        .init();
    guard
}

/// A bar of so many steps on stderr; nothing where that is no terminal.
pub(crate) fn bar(steps: usize) -> indicatif::ProgressBar {
    if !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let style = indicatif::ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    let bar = indicatif::ProgressBar::new(steps as u64);
    bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
    bar
}
