//! The random numbers of a play, all of which come from its seed.

use std::time::Duration;

/// The random number generator of one play.
#[derive(Clone, Debug)]
pub(super) struct Dice(fastrand::Rng);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(fastrand::Rng::with_seed(seed))
    }

    /// A second generator with another seed, whose use does not advance this one.
    pub(super) fn fork(&self) -> Dice {
        Dice(fastrand::Rng::with_seed(self.0.get_seed().rotate_left(17) ^ 0x5eed))
    }

    /// Returns true with this chance, in thousandths.
    pub(super) fn per_mille(&mut self, chance: u32) -> bool {
        self.0.u32(0..1000) < chance
    }

    pub(super) fn up_to(&mut self, below: usize) -> usize {
        self.0.usize(0..below.max(1))
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.up_to(choices.len())]
    }

    /// A span between these two, in whole seconds. Each power of two is equally likely, so short spans are as
    /// likely as long ones.
    pub(super) fn span(&mut self, from: Duration, to: Duration) -> Duration {
        let (from, to) = (from.as_secs().max(1), to.as_secs().max(2));
        let (low, high) = (from.ilog2(), to.ilog2());
        let magnitude = 1_u64 << self.0.u32(low..=high);
        Duration::from_secs(self.0.u64(magnitude..magnitude * 2).clamp(from, to))
    }
}
