//! A file beside the journal that stores the delivery state of alert sinks while the journal itself is unavailable.
//!
//! The file exists only then. Without it, a process that restarts again and again would send the same notification each
//! time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::beside;
use crate::core::alert::DeliveryState;
use crate::core::ids::SinkName;
use crate::files::whole_file;
use crate::ports::FallbackStore;

/// The path of that file: `journal.db-alerts`, beside `journal.db`.
#[derive(Clone, Debug)]
pub struct FallbackFile(PathBuf);

impl FallbackFile {
    /// The fallback file of this journal.
    #[must_use]
    pub fn beside(journal: &Path) -> FallbackFile {
        FallbackFile(beside(journal, "-alerts"))
    }
}

impl FallbackStore for FallbackFile {
    fn read(&self) -> BTreeMap<SinkName, DeliveryState> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn write(&self, memories: &BTreeMap<SinkName, DeliveryState>) {
        let text = serde_json::to_string(memories).expect("a memory has nothing that JSON cannot say");
        let written = match memories.is_empty() {
            true => fs::remove_file(&self.0),
            false => whole_file::replace(&self.0, text.as_bytes()),
        };
        if let Err(error) = written {
            let path = self.0.display();
            tracing::warn!(
                "{path} cannot be written ({error}), so an alert about the journal may be sent twice"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::alert::Notification;
    use crate::core::time::Timestamp;

    #[test]
    fn the_fallback_file_keeps_and_forgets_delivery_states() {
        let folder = tempfile::tempdir().expect("a folder");
        let spare = FallbackFile::beside(&folder.path().join("journal.db"));
        assert_eq!(spare.read(), BTreeMap::new());
        let mut memory = DeliveryState::new(0);
        memory.refused(&Notification::test(Timestamp::EPOCH), None, Timestamp::EPOCH);
        let memories = BTreeMap::from([("pager".parse().expect("a name"), memory)]);
        spare.write(&memories);
        assert_eq!(spare.read(), memories);
        spare.write(&BTreeMap::new());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
        fs::write(&spare.0, "{").expect("written");
        assert_eq!(spare.read(), BTreeMap::new());
    }
}
