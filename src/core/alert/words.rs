//! A notification in words: a headline, and a line for each item.
//!
//! **Invariant:** the text is bounded. A notification about two hundred vendors can be read on a telephone.

use std::collections::BTreeMap;

use crate::core::alert::active::Alert;
use crate::core::alert::condition::Condition;
use crate::core::alert::decide::{Item, Notification};

/// Items beyond this number are only counted; `keyround status` shows them.
const LINES_MAX: usize = 30;
/// The longest sentence that is sent whole, in characters.
const SENTENCE_CHARS_MAX: usize = 1000;

/// One line that sums up the notification, in about a hundred characters at most.
#[must_use]
pub fn headline(notification: &Notification) -> String {
    match &notification.items[..] {
        [] => "keyround: no alerts".to_owned(),
        [one] => format!("keyround: {}", head_of(one)),
        items => {
            let mut counts: BTreeMap<(bool, &'static str), usize> = BTreeMap::new();
            for item in items {
                let (is_over, word) = word(item);
                *counts.entry((is_over, word)).or_default() += 1;
            }
            let counted = counts.iter().map(|((is_over, word), count)| match is_over {
                true => format!("{count} no longer {word}"),
                false => format!("{count} {word}"),
            });
            format!("keyround: {}", counted.collect::<Vec<_>>().join(", "))
        }
    }
}

fn word(item: &Item) -> (bool, &'static str) {
    match item {
        Item::Firing { alert, .. } => (false, alert.condition.as_str()),
        Item::Over { alert, .. } | Item::Recovered { alert, .. } => (true, alert.condition.as_str()),
        Item::News(notice) => (false, notice.condition.as_str()),
        Item::Test => (false, "test"),
    }
}

fn head_of(item: &Item) -> String {
    match item {
        Item::Firing { alert, again: false } => format!("{} {}", whose(alert), state(alert.condition)),
        Item::Firing { alert, again: true } => {
            format!("{} still {}", whose(alert), state(alert.condition))
        }
        Item::Over { alert, .. } => format!("{} no longer {}", whose(alert), state(alert.condition)),
        Item::Recovered { alert, .. } => format!("{} recovered", whose(alert)),
        Item::News(notice) => format!("{} rotated", notice.vendor),
        Item::Test => "this is a test, and nothing is wrong".to_owned(),
    }
}

fn state(condition: Condition) -> &'static str {
    match condition {
        Condition::Warning => "due soon",
        Condition::Due => "due",
        Condition::Overdue => "overdue",
        Condition::Failed => "failing",
        Condition::Stuck => "stuck",
        Condition::Reactivated => "back on its old key",
        Condition::Recovered => "recovered",
        Condition::Rotated => "rotated",
        Condition::RootKey => "with an access key of root",
        Condition::Audit => "with a grave finding",
        Condition::Journal => "without its journal",
        Condition::Aws => "cannot reach AWS",
        Condition::SealKey => "without its seal key",
        Condition::NoWorkingKey => "without a working key",
        Condition::Held => "on hold",
        Condition::Clock => "with a clock that differs from AWS's",
        Condition::HalfWritten => "with the halves of two pairs",
        Condition::Exposed => "with a public key, and quarantined by AWS",
        Condition::UsedAfterIncident => "with an exposed key that was used after the incident was declared",
    }
}

fn whose(alert: &Alert) -> String {
    match (&alert.vendor, &alert.iam_user) {
        (Some(vendor), Some(user)) => format!("{vendor} ({user})"),
        (Some(vendor), None) => vendor.to_string(),
        (None, _) if alert.condition.is_of_review() => match &alert.account {
            Some(account) => format!("the account {account}"),
            None => "the account".to_owned(),
        },
        (None, _) => "keyround".to_owned(),
    }
}

/// One line for each item, the most severe first, and a last line that counts the items left out.
#[must_use]
pub fn lines(notification: &Notification) -> Vec<String> {
    let mut items: Vec<&Item> = notification.items.iter().collect();
    items.sort_by_key(|item| match item {
        Item::Firing { alert, .. } => (0, std::cmp::Reverse(alert.condition.severity())),
        Item::Over { alert, .. } | Item::Recovered { alert, .. } => {
            (1, std::cmp::Reverse(alert.condition.severity()))
        }
        Item::News(notice) => (2, std::cmp::Reverse(notice.condition.severity())),
        Item::Test => (3, std::cmp::Reverse(Condition::Recovered.severity())),
    });
    let mut lines: Vec<String> = items.iter().take(LINES_MAX).map(|item| line(item)).collect();
    if items.len() > LINES_MAX {
        lines.push(format!("and {} more: run keyround status", items.len() - LINES_MAX));
    }
    lines
}

fn line(item: &Item) -> String {
    let head = head_of(item);
    let ask = |alert: &Alert| alert.owner.as_ref().map(|owner| format!("; ask {owner}")).unwrap_or_default();
    match item {
        Item::Firing { alert, .. } => {
            format!("{head} since {} [{}]: {}{}", alert.since, alert.reason, cut(&alert.sentence), ask(alert))
        }
        Item::Over { sentence, .. } | Item::Recovered { sentence, .. } => {
            format!("{head}: {}", cut(sentence))
        }
        Item::News(notice) => format!("{head} at {}: {}", notice.at, cut(&notice.sentence)),
        Item::Test => "this sink works; `keyround alert test` sent this message".to_owned(),
    }
}

fn cut(sentence: &str) -> String {
    match sentence.char_indices().nth(SENTENCE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &sentence[..end]),
        None => sentence.to_owned(),
    }
}
