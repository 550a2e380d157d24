//! Enumerates every sequence of choices: `while odometer.more() { … odometer.pick(3) … }`.
//!
//! The idea comes from `TigerBeetle`'s exhaustigen: the program under test asks for choices, and the odometer
//! advances until it has given every combination of answers once.

#[derive(Default)]
pub(crate) struct Odometer {
    started: bool,
    digits: Vec<(usize, usize)>,
    at: usize,
}

impl Odometer {
    /// Advances to the next combination; false when there is none.
    pub(crate) fn more(&mut self) -> bool {
        self.at = 0;
        if !std::mem::replace(&mut self.started, true) {
            return true;
        }
        while let Some((value, bound)) = self.digits.pop() {
            if value + 1 < bound {
                self.digits.push((value + 1, bound));
                return true;
            }
        }
        false
    }

    /// One of `0..bound`.
    pub(crate) fn pick(&mut self, bound: usize) -> usize {
        if self.at == self.digits.len() {
            self.digits.push((0, bound));
        }
        let (value, known_bound) = self.digits[self.at];
        assert_eq!(bound, known_bound, "the program under test is not deterministic");
        self.at += 1;
        value
    }

    /// The choices of this combination so far, which identify it in a report.
    pub(crate) fn choices(&self) -> Vec<usize> {
        self.digits[..self.at].iter().map(|(value, _)| *value).collect()
    }
}

#[test]
fn the_odometer_gives_each_combination_once() {
    let mut odometer = Odometer::default();
    let mut seen = Vec::new();
    while odometer.more() {
        let first = odometer.pick(2);
        let second = if first == 0 { odometer.pick(3) } else { 9 };
        seen.push((first, second));
    }
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2), (1, 9)]);
}
