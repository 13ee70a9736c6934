//! Processor time of the measuring thread, shown as a rate beside a roof.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use criterion::Throughput;
use criterion::measurement::{Measurement, ValueFormatter};
use rustix::time::{ClockId, clock_gettime};

/// The roof of what is measured next, in units of 10^9 a second.
#[derive(Clone, Default)]
pub(crate) struct Roof(Rc<Cell<f64>>);

impl Roof {
    pub(crate) fn set(&self, roof: f64) {
        self.0.set(roof);
    }
}

/// Processor time of this thread.
pub(crate) struct Rate(Shown);

impl Rate {
    pub(crate) fn new(roof: Roof) -> Rate {
        Rate(Shown(roof))
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The least time of so many runs.
pub(crate) fn least(count: u64, run: &mut impl FnMut()) -> Duration {
    let timed = (0..count).map(|_| {
        let start = thread_time();
        run();
        thread_time().saturating_sub(start)
    });
    timed.min().unwrap_or_default()
}

impl Measurement for Rate {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        thread_time()
    }

    fn end(&self, start: Duration) -> Duration {
        thread_time().saturating_sub(start)
    }

    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        &self.0
    }
}

/// Nanoseconds, and work by nanosecond: units of 10^9 a second.
struct Shown(Roof);

/// How much work, and in what it is counted.
fn count(work: &Throughput) -> (f64, &'static str) {
    match *work {
        Throughput::Elements(count) => (count as f64, "GFLOP/s"),
        Throughput::Bits(count) => (count as f64, "GOP/s"),
        Throughput::Bytes(count) | Throughput::BytesDecimal(count) => (count as f64, "GB/s"),
        Throughput::ElementsAndBytes { elements, .. } => (elements as f64, "GFLOP/s"),
    }
}

impl ValueFormatter for Shown {
    fn format_throughput(&self, work: &Throughput, ns: f64) -> String {
        let (count, unit) = count(work);
        let (rate, roof) = (count / ns, self.0.0.get());
        format!("{rate:.1} {unit} {:.0} %", 100.0 * rate / roof)
    }

    fn scale_values(&self, typical: f64, values: &mut [f64]) -> &'static str {
        let (factor, unit) = match typical {
            ns if ns < 1e3 => (1.0, "ns"),
            ns if ns < 1e6 => (1e-3, "us"),
            _ => (1e-6, "ms"),
        };
        values.iter_mut().for_each(|value| *value *= factor);
        unit
    }

    fn scale_throughputs(&self, _: f64, work: &Throughput, values: &mut [f64]) -> &'static str {
        let (count, unit) = count(work);
        values.iter_mut().for_each(|ns| *ns = count / *ns);
        unit
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "ns"
    }
}
