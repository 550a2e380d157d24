//! `alert test`: sends a test notification to the alert sinks.

use std::path::Path;

use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::exit::{Code, Ended, Failure};
use crate::cli::layout::{Row, table};
use crate::cli::{Screen, setup};
use crate::core::alert::Notification;
use crate::core::ids::SinkName;
use crate::core::time::SystemClock;

#[derive(Serialize)]
struct TestView {
    sinks: Vec<SinkView>,
}

#[derive(Serialize)]
struct SinkView {
    name: String,
    ok: bool,
    sentence: String,
}

pub(crate) async fn test(config: Option<&Path>, name: Option<SinkName>, screen: &Screen) -> Ended {
    let (_, settings) = setup::settings(config, screen.color)?;
    let mut routes = setup::routing(&settings)?.routes;
    if let Some(name) = &name {
        routes.retain(|route| route.name == *name);
    }
    if routes.is_empty() {
        let message = match &name {
            Some(name) => format!("there is no [alert.{name}] in the configuration"),
            None => "the configuration has no [alert.NAME], so no alerts are sent".to_owned(),
        };
        return Err(Failure::new(Code::Usage, message).hinted("rotation.toml.example has one of each kind"));
    }
    let now = SystemClock.now();
    let mut sinks = Vec::new();
    for route in routes {
        let told = route.sink.tell(&Notification::test(now), now, now).await;
        let (ok, sentence) = match told {
            Ok(()) => (true, "the test was taken".to_owned()),
            Err(fault) => (false, fault.sentence().to_owned()),
        };
        sinks.push(SinkView { name: route.name.to_string(), ok, sentence });
    }
    let code = if sinks.iter().all(|sink| sink.ok) { Code::Fine } else { Code::Failed };
    show(TestView { sinks }, screen);
    Ok(code)
}

fn show(view: TestView, screen: &Screen) {
    if screen.format == Format::Json {
        return screen.show_json(&view);
    }
    let row = |sink: SinkView| {
        let result = if sink.ok { "ok" } else { "FAILED" };
        Row { cells: vec![sink.name, result.to_owned()], sentence: sink.sentence }
    };
    screen.show(&table(&["ALERT", "TEST", "WHY"], view.sinks.into_iter().map(row).collect(), screen.columns));
}
