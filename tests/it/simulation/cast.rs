//! The vendors of a play and their configuration: drawn at the start, and changed by operators during the play.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keyround::config::{self, Environment, Settings};
use keyround::core::ids::IamUserName;

use super::Mistake;
use super::consumers::Door;
use super::dice::Dice;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// The choices of `cool`; the last one is the default of the program.
const COOLS: [Duration; 3] = [DAY, Duration::from_hours(48), Duration::from_hours(7 * 24)];

/// The settings of one vendor.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub(super) struct Part {
    pub(super) user: IamUserName,
    pub(super) name: String,
    pub(super) is_there: bool,
    pub(super) is_enabled: bool,
    pub(super) can_be_asked: bool,
    door: Door,
    require_use: bool,
    quiet_for: Duration,
    soak: Duration,
    cool: Duration,
    windows: Option<&'static str>,
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    pub(super) parts: Vec<Part>,
    pub(super) mistake: Mistake,
    cron: &'static str,
    passes_a_day: u32,
    max_age: Duration,
    concurrency: usize,
}

impl Cast {
    pub(super) fn new(dice: &mut Dice, mistake: Mistake) -> Cast {
        let parts = (0..2 + dice.up_to(3)).map(|number| Part::new(number, dice)).collect();
        let (cron, passes_a_day) = dice.one_of(&[("17 */3 * * *", 8), ("5 */6 * * *", 4), ("40 2 * * *", 1)]);
        let max_age = dice.one_of(&[14, 18, 24]) * DAY;
        let concurrency = 1 + dice.up_to(4);
        Cast { parts, mistake, cron, passes_a_day, max_age, concurrency }
    }

    pub(super) fn passes_a_day(&self) -> u32 {
        self.passes_a_day
    }

    /// How long the old key of each user must be Inactive, in a rotation that begins now.
    pub(super) fn cools(&self) -> BTreeMap<IamUserName, Duration> {
        self.parts.iter().map(|part| (part.user.clone(), part.cool)).collect()
    }

    pub(super) fn max_age(&self) -> Duration {
        self.max_age
    }

    /// The greatest age of a key outside a rotation when nothing goes wrong: the wait until it is due, for the next
    /// window, and for the next pass.
    pub(super) fn oldest_at_rest(&self) -> Duration {
        self.max_age + 4 * DAY
    }

    pub(super) fn part(&mut self, user: &IamUserName) -> &mut Part {
        self.parts.iter_mut().find(|part| part.user == *user).expect("the cast is fixed")
    }

    /// Changes some settings of all vendors and of this one.
    pub(super) fn change_something(&mut self, user: &IamUserName, dice: &mut Dice) {
        self.concurrency = 1 + dice.up_to(4);
        self.max_age = dice.one_of(&[14, 18, 24]) * DAY;
        let part = self.part(user);
        part.soak = dice.one_of(&[6 * HOUR, DAY]);
        part.cool = dice.one_of(&COOLS);
    }

    /// Adds back and enables every vendor, as at the start.
    pub(super) fn restore(&mut self) {
        for part in &mut self.parts {
            (part.is_there, part.is_enabled) = (true, true);
        }
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        let mut text = format!(
            "[schedule]\ncron = \"{}\"\njitter = \"5m\"\n[defaults]\nmax_age = \"{}d\"\nwarn_before = \"2d\"\n\
             overdue_after = \"2d\"\nconcurrency = {}\n",
            self.cron,
            self.max_age.as_secs() / DAY.as_secs(),
            self.concurrency
        );
        for part in self.parts.iter().filter(|part| part.is_there) {
            part.write(&mut text, self.mistake);
        }
        let environment = Environment { state_directory: Some(PathBuf::from("/nowhere")) };
        let settings = config::parse("simulation.toml", &text, &environment);
        Arc::new(settings.unwrap_or_else(|mistakes| panic!("{mistakes}\n{text}")))
    }
}

impl Part {
    fn new(number: usize, dice: &mut Dice) -> Part {
        let can_be_asked = dice.per_mille(650);
        let door = dice.one_of(&[Door::Webhook, Door::Json, Door::TwoWrites]);
        Part {
            user: format!("user-{number}").parse().expect("a user"),
            name: format!("v{number}"),
            is_there: true,
            is_enabled: true,
            can_be_asked,
            door,
            // A vendor that cannot be asked must be seen to use the key. An answer of one that can be asked may be
            // enough, but not where it writes the halves of a pair separately, because its answer names only one half.
            require_use: !can_be_asked || door == Door::TwoWrites || dice.per_mille(500),
            quiet_for: dice.one_of(&if can_be_asked { [Duration::ZERO, 6 * HOUR] } else { [12 * HOUR, DAY] }),
            soak: dice.one_of(&[6 * HOUR, DAY]),
            cool: dice.one_of(&COOLS),
            windows: dice.one_of(&[None, None, Some("Mon-Fri 09:00-17:00")]),
        }
    }

    /// How often this vendor uses its key. One that cannot be asked must use it often, or its use would not be seen.
    pub(super) fn uses_every(&self, dice: &mut Dice) -> Duration {
        let seldom: &[Duration] = &[Duration::from_mins(5), HOUR, 9 * HOUR, 3 * DAY];
        dice.one_of(if self.can_be_asked { seldom } else { &seldom[..2] })
    }

    fn write(&self, text: &mut String, mistake: Mistake) {
        let Part { name, user, .. } = self;
        let skips_gates = mistake == Mistake::GatesAreSkipped;
        let quiet_for = if skips_gates { Duration::ZERO } else { self.quiet_for };
        let cool = if mistake == Mistake::NothingCools { Duration::ZERO } else { self.cool };
        let windows = self.windows.map(|windows| format!("windows = [\"{windows}\"]\n")).unwrap_or_default();
        let asked = self.can_be_asked && !skips_gates;
        write!(
            text,
            "[vendor.{name}]\niam_user = \"{user}\"\nenabled = {}\nsoak = \"{}h\"\ncool = \"{}h\"\n\
             quiet_for = \"{}h\"\nrequire_use = {}\n{windows}",
            self.is_enabled,
            self.soak.as_secs() / 3600,
            cool.as_secs() / 3600,
            quiet_for.as_secs() / 3600,
            self.require_use && !skips_gates,
        )
        .expect("memory takes it");
        for (key, value) in self.steps() {
            write!(
                text,
                "[[vendor.{name}.deliver]]\nkind = \"{key}\"\nurl = \"https://{name}.example/keys\"\n{value}"
            )
            .expect("memory takes it");
        }
        if asked {
            write!(
                text,
                "[vendor.{name}.verify]\nurl = \"https://{name}.example/key\"\n\
                 expect = {{ pointer = \"/id\", equals = \"{{{{ access_key_id }}}}\" }}\n"
            )
            .expect("memory takes it");
        }
    }

    fn steps(&self) -> Vec<(&'static str, &'static str)> {
        const SECRET: &str = "writes = \"secret\"\njson = { secret = \"{{ secret_access_key }}\" }\n";
        match self.door {
            Door::Webhook => vec![("webhook", "secret = \"env:WEBHOOK\"\n")],
            Door::Json => vec![(
                "http",
                "json = { id = \"{{ access_key_id }}\", secret = \"{{ secret_access_key }}\" }\n\
                 expect = { pointer = \"/taken\", equals = \"{{ access_key_id }}\" }\n",
            )],
            Door::TwoWrites => vec![
                (
                    "http",
                    "writes = \"id\"\njson = { id = \"{{ access_key_id }}\" }\n\
                     expect = { pointer = \"/taken\", equals = \"{{ access_key_id }}\" }\n",
                ),
                ("http", SECRET),
            ],
        }
    }
}

/// The simulated vendors of a cast, by IAM user.
pub(super) fn consumers(cast: &Cast, dice: &mut Dice) -> BTreeMap<IamUserName, super::consumers::Consumer> {
    let consumer = |part: &Part, dice: &mut Dice| {
        let uses_every = part.uses_every(dice);
        let takes_halves = part.door == Door::TwoWrites;
        super::consumers::Consumer::new(part.can_be_asked, takes_halves, uses_every, dice)
    };
    cast.parts.iter().map(|part| (part.user.clone(), consumer(part, dice))).collect()
}
