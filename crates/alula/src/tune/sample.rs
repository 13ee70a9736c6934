//! What times of two programs that ran in turns say.

/// How much faster a choice must be, as a share of its time, beside the noise.
pub const MARGIN: f64 = 0.02;

/// Parts of the rounds whose least times are compared to know the noise: round by round in turn,
/// so that what disturbs the machine for a while meets all of them.
const PARTS: usize = 4;

/// Times of two programs in the same rounds, in milliseconds.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pub(super) ms: Vec<f64>,
    pub(super) against_ms: Vec<f64>,
}

/// What the samples come to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    /// Least time of the choice.
    pub(super) ms: f64,
    /// Least time of the other.
    pub(super) against_ms: f64,
    /// The greater noise of both.
    pub(super) noise: f64,
    pub(super) rounds: usize,
}

impl Verdict {
    /// Of a choice that makes no difference, which nobody needs to measure.
    pub(super) fn same() -> Verdict {
        Verdict {
            ms: 0.0,
            against_ms: 0.0,
            noise: 0.0,
            rounds: 0,
        }
    }

    /// Of two trials the one with the lesser gain, with the noise of both.
    pub(super) fn and(self, again: Verdict) -> Verdict {
        let noise = self.noise.max(again.noise);
        let rounds = self.rounds + again.rounds;
        let is_less = self.against_ms * again.ms < again.against_ms * self.ms;
        let least = if is_less { self } else { again };
        Verdict {
            noise,
            rounds,
            ..least
        }
    }

    pub(super) fn of(samples: &Samples) -> Verdict {
        let noise = noise(&samples.ms).max(noise(&samples.against_ms));
        Verdict {
            ms: least(&samples.ms),
            against_ms: least(&samples.against_ms),
            noise,
            rounds: samples.ms.len(),
        }
    }

    /// Whether the choice is faster by more than the margin and the noise.
    pub(super) fn is_faster(&self) -> bool {
        // What did not run in this run of the model took no time.
        self.ms > 0.0 && self.ms * (1.0 + MARGIN + self.noise) < self.against_ms
    }
}

pub(super) fn least(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

/// How far the least times of parts of the rounds lie apart, as a share of the least of all. Too
/// few rounds are all noise.
fn noise(times: &[f64]) -> f64 {
    if times.len() < PARTS {
        return f64::INFINITY;
    }
    let part = |first: usize| {
        let times: Vec<f64> = times.iter().copied().skip(first).step_by(PARTS).collect();
        least(&times)
    };
    let parts: Vec<f64> = (0..PARTS).map(part).collect();
    let most = parts.iter().copied().fold(0.0, f64::max);
    let least = least(&parts);
    match least > 0.0 {
        true => (most - least) / least,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ms: &[f64], against_ms: &[f64]) -> Verdict {
        Verdict::of(&Samples {
            ms: ms.to_vec(),
            against_ms: against_ms.to_vec(),
        })
    }

    #[test]
    fn a_gain_beyond_margin_and_noise_is_one() {
        assert!(verdict(&[1.0; 8], &[1.03; 8]).is_faster());
        assert!(!verdict(&[1.0; 8], &[1.015; 8]).is_faster());
        assert!(!verdict(&[1.0; 8], &[0.5; 8]).is_faster());
    }

    #[test]
    fn noise_hides_a_gain() {
        let quiet = [1.0; 8];
        // One part never had a quiet round.
        let noisy = [1.0, 1.2, 1.0, 1.0, 1.1, 1.2, 1.3, 1.0];
        assert!((noise(&noisy) - 0.2).abs() < 1e-12, "{}", noise(&noisy));
        assert!(verdict(&quiet, &[1.1; 8]).is_faster());
        assert!(!verdict(&noisy, &[1.1; 8]).is_faster());
        assert!(verdict(&noisy, &[1.3; 8]).is_faster());
    }

    #[test]
    fn single_slow_rounds_are_no_noise() {
        let mut times = [1.0; 8];
        times[3] = 50.0;
        assert_eq!(noise(&times), 0.0);
    }

    #[test]
    fn a_gain_counts_if_it_is_seen_again() {
        let gain = || verdict(&[1.0; 8], &[1.1; 8]);
        assert!(gain().and(gain()).is_faster());
        let none = || verdict(&[1.0; 8], &[1.01; 8]);
        assert!(!gain().and(none()).is_faster() && !none().and(gain()).is_faster());
        assert_eq!(gain().and(none()).rounds, 16);
        assert!(!Verdict::same().is_faster());
    }

    #[test]
    fn too_few_rounds_decide_nothing() {
        assert!(!verdict(&[1.0; 3], &[9.0; 3]).is_faster());
    }
}
