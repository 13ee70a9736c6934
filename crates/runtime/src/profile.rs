//! Where the time of a run went: a table for people, a Chrome trace for tools.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use alula_program::{Program, Step};

use crate::execute::name_of;

/// What kind of step it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepKind {
    /// A kernel on the device.
    Launch,
    /// A function on the host.
    Host,
    /// Dims written as a tensor.
    Dims,
    /// A branch or a loop; its time holds that of the steps within.
    Control,
}

impl StepKind {
    fn name(self) -> &'static str {
        match self {
            StepKind::Launch => "launch",
            StepKind::Host => "host",
            StepKind::Dims => "dims",
            StepKind::Control => "control",
        }
    }
}

/// A step that ran.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// Position of its plan.
    pub plan: usize,
    /// Its position in the plan.
    pub step: usize,
    /// What kind it was.
    pub kind: StepKind,
    /// The kernel's name, or the kind's.
    pub kernel: String,
    /// The nodes that it stands for.
    pub nodes: String,
    /// When it began, counted from the beginning of the run.
    pub start: Duration,
    /// How long it took.
    pub time: Duration,
    /// Bytes of its operands and results together.
    pub bytes: u64,
}

/// The steps of one run in the order in which they ended.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The steps.
    pub steps: Vec<StepTime>,
    /// The whole run.
    pub total: Duration,
}

/// Collects a profile while a run goes on.
pub(crate) struct Recorder {
    began: Instant,
    steps: Vec<StepTime>,
}

impl Recorder {
    pub(crate) fn new() -> Recorder {
        Recorder {
            began: Instant::now(),
            steps: Vec::new(),
        }
    }

    pub(crate) fn add(
        &mut self,
        program: &Program,
        plan: usize,
        index: usize,
        step: &Step,
        start: Instant,
        bytes: u64,
    ) {
        let time = start.elapsed();
        let (kind, kernel) = match step {
            Step::Launch { kernel, .. } => {
                (StepKind::Launch, program.kernels[*kernel].name.clone())
            }
            Step::Host { function, .. } => {
                let text = format!("{function:?}");
                let name = text.split([' ', '{', '(']).next().unwrap_or_default();
                (StepKind::Host, name.to_owned())
            }
            Step::Dims { .. } => (StepKind::Dims, "dims".to_owned()),
            Step::If { .. } => (StepKind::Control, "if".to_owned()),
            Step::Loop { .. } => (StepKind::Control, "loop".to_owned()),
        };
        self.steps.push(StepTime {
            plan,
            step: index,
            kind,
            kernel,
            nodes: name_of(step).to_owned(),
            start: start.duration_since(self.began),
            time,
            bytes,
        });
    }

    pub(crate) fn finish(self) -> Profile {
        Profile {
            total: self.began.elapsed(),
            steps: self.steps,
        }
    }
}

impl Profile {
    /// Keeps the least time of each step of this run and of another one of the same steps. A run
    /// of other steps, as where a loop ends sooner, is left out.
    pub fn keep_least(&mut self, other: &Profile) {
        let place = |step: &StepTime| (step.plan, step.step);
        if !self
            .steps
            .iter()
            .map(place)
            .eq(other.steps.iter().map(place))
        {
            return;
        }
        for (step, other) in self.steps.iter_mut().zip(&other.steps) {
            step.time = step.time.min(other.time);
        }
        self.total = self.total.min(other.total);
    }

    /// A table of the slowest steps: time, share, bytes per second, kernel, nodes. Steps that ran
    /// several times, as in loops, are one row; branches and loops have none of their own.
    pub fn table(&self, rows_max: usize) -> String {
        #[derive(Default)]
        struct Row {
            count: u32,
            time: Duration,
            bytes: u64,
        }
        let mut rows: BTreeMap<(usize, usize), (Row, &StepTime)> = BTreeMap::new();
        for step in self.steps.iter().filter(|s| s.kind != StepKind::Control) {
            let entry = rows.entry((step.plan, step.step));
            let (row, _) = entry.or_insert_with(|| (Row::default(), step));
            row.count += 1;
            row.time += step.time;
            row.bytes += step.bytes;
        }
        let mut rows: Vec<(Row, &StepTime)> = rows.into_values().collect();
        rows.sort_by_key(|(row, step)| (std::cmp::Reverse(row.time), step.plan, step.step));
        let total = self.total.as_secs_f64().max(1e-12);
        let mut text = format!(
            "{:>10} {:>6} {:>6} {:>8}  {:<32} {}\n",
            "time ms", "share", "runs", "GB/s", "kernel", "nodes"
        );
        for (row, step) in rows.iter().take(rows_max) {
            let seconds = row.time.as_secs_f64();
            let rate = row.bytes as f64 / seconds.max(1e-12) / 1e9;
            let _ = writeln!(
                text,
                "{:>10.3} {:>5.1}% {:>6} {:>8.2}  {:<32} {}",
                seconds * 1e3,
                100.0 * seconds / total,
                row.count,
                rate,
                step.kernel,
                step.nodes
            );
        }
        let counted: f64 = rows.iter().map(|(row, _)| row.time.as_secs_f64()).sum();
        let _ = writeln!(
            text,
            "{:>10.3} total, {:.3} in {} steps",
            total * 1e3,
            counted * 1e3,
            rows.len()
        );
        text
    }

    /// The run in Chrome's trace-event format (JSON), for `chrome://tracing` or Perfetto.
    pub fn chrome_trace(&self) -> String {
        let mut text = String::from("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
        for (position, step) in self.steps.iter().enumerate() {
            let _ = write!(
                text,
                "{}{{\"name\":{},\"cat\":\"{}\",\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":{:.3},\
                 \"dur\":{:.3},\"args\":{{\"nodes\":{},\"plan\":{},\"step\":{},\"bytes\":{}}}}}",
                if position == 0 { "" } else { ",\n" },
                json_string(&step.kernel),
                step.kind.name(),
                step.start.as_secs_f64() * 1e6,
                step.time.as_secs_f64() * 1e6,
                json_string(&step.nodes),
                step.plan,
                step.step,
                step.bytes
            );
        }
        text.push_str("\n]}\n");
        text
    }
}

/// A string as JSON writes it.
fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            c if c < ' ' => {
                let _ = write!(json, "\\u{:04x}", c as u32);
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_times_of_the_same_steps_are_kept() {
        let step = |step: usize, ms: u64| StepTime {
            plan: 0,
            step,
            kind: StepKind::Launch,
            kernel: "k".to_owned(),
            nodes: "n".to_owned(),
            start: Duration::ZERO,
            time: Duration::from_millis(ms),
            bytes: 0,
        };
        let run = |steps: Vec<StepTime>, ms: u64| Profile {
            steps,
            total: Duration::from_millis(ms),
        };
        let mut least = run(vec![step(0, 5), step(1, 3)], 9);
        least.keep_least(&run(vec![step(0, 2), step(1, 4)], 7));
        // Another number of steps.
        least.keep_least(&run(vec![step(0, 1)], 1));
        let times: Vec<u128> = least
            .steps
            .iter()
            .map(|step| step.time.as_millis())
            .collect();
        assert_eq!((times, least.total.as_millis()), (vec![2, 3], 7));
    }

    #[test]
    fn traces_escape_names() {
        assert_eq!(json_string("a\"b\\\n\u{1}"), "\"a\\\"b\\\\\\n\\u0001\"");
    }
}
