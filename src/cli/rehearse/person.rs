//! Simulates the person of a manual delivery, who reveals the new key, takes it to the vendor and acknowledges that.

use crate::cli::exit::{Code, Failure};
use crate::cli::rehearse::notebook::Notebook;
use crate::core::rotation::{Event, Rotation};
use crate::engine::{Watcher as _, World, entry_after};

/// The name of that person in the timeline.
const NAME: &str = "somebody";

pub(super) async fn hand_over(world: &World, notebook: &Notebook) -> Result<(), Failure> {
    for known in world.journal.in_flight().await? {
        let at = world.clock.now();
        let by = NAME.to_owned();
        let shown = Event::Revealed { by: by.clone(), why: None, recipient: None, at };
        for event in [shown, Event::Acknowledged { by, at }] {
            let events = world.journal.read(known.rotation).await?;
            let replayed = Rotation::replay(known.rotation, &events);
            let illegal = |illegal: crate::core::rotation::IllegalEvent| {
                Failure::new(Code::Failed, illegal.to_string())
            };
            let mut rotation = replayed.map_err(illegal)?;
            world.journal.append(entry_after(&mut rotation, &event, None).map_err(illegal)?).await?;
            notebook.appended(&rotation, &event);
        }
    }
    Ok(())
}
