//! `webhook send-test`: sends a test message, to find out whether a vendor's receiver accepts it before it is sent a
//! key.

use std::path::Path;

use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::layout::{Row, table};
use crate::cli::{Screen, setup};
use crate::config::Settings;
use crate::config::settings::{Access, Users};
use crate::core::ids::{Subject, VendorName};
use crate::core::time::SystemClock;
use crate::ports::Answer;

#[derive(Serialize)]
struct TestView {
    vendor: String,
    webhooks: Vec<SentView>,
}

#[derive(Serialize)]
struct SentView {
    /// The number of the delivery step, from 1.
    step: usize,
    ok: bool,
    sentence: String,
}

pub(crate) async fn send_test(config: Option<&Path>, vendor: VendorName, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    setup::known(&settings, std::slice::from_ref(&vendor))?;
    let subject = subject(&settings, vendor);
    let vendors = setup::vendors(&settings)?;
    let sent = vendors.send_tests(&subject, SystemClock.now()).await;
    if sent.is_empty() {
        let message = format!("the vendor {} has no webhook, so nothing was sent", subject.vendor);
        let hint = "`keyround check --online` asks the other kinds of delivery";
        return Err(Failure::new(Code::Usage, message).hinted(hint));
    }
    let view = |(step, answer): (usize, Answer<String>)| SentView {
        step,
        ok: answer.is_ok(),
        sentence: answer.unwrap_or_else(|fault| fault.sentence().to_owned()),
    };
    let webhooks: Vec<SentView> = sent.into_iter().map(view).collect();
    let code = if webhooks.iter().all(|sent| sent.ok) { Code::Fine } else { Code::Failed };
    show(TestView { vendor: subject.vendor.to_string(), webhooks }, screen);
    Ok(code)
}

/// The user that the test names: the first configured one, or `test`, because the users under a path are not listed for
/// a test.
fn subject(settings: &Settings, vendor: VendorName) -> Subject {
    let (account, user) = match settings.vendors.get(&vendor).map(|vendor| &vendor.access) {
        Some(Access::Key(access)) => match &access.users {
            Users::Named(users) => (access.account.clone(), users.first().cloned()),
            Users::Path(_) => (access.account.clone(), None),
        },
        Some(Access::Role { .. }) | None => (None, None),
    };
    let iam_user = user.unwrap_or_else(|| "test".parse().expect("a name that IAM allows"));
    Subject { vendor, account, iam_user }
}

fn show(view: TestView, screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&view);
    }
    let row = |sent: SentView| {
        let result = if sent.ok { "ok" } else { "FAILED" };
        let cells = vec![view.vendor.clone(), sent.step.to_string(), result.to_owned()];
        Row { cells, sentence: sent.sentence }
    };
    let rows = view.webhooks.into_iter().map(row).collect();
    screen.show(&table(&["VENDOR", "STEP", "TEST", "WHY"], rows, screen.columns));
}
