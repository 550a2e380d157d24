//! A file beside the journal for what sinks were told while the journal itself was the trouble.
//!
//! It is there only then. Without it, a process that is started again and again would tell the same thing each time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::beside;
use crate::alert::Memory;
use crate::ids::SinkName;
use crate::ports::SpareMemory;
use crate::whole_file;

/// `journal.db-alerts`, beside `journal.db`.
#[derive(Clone, Debug)]
pub struct SpareFile(PathBuf);

impl SpareFile {
    /// The one of this journal.
    #[must_use]
    pub fn beside(journal: &Path) -> SpareFile {
        SpareFile(beside(journal, "-alerts"))
    }
}

impl SpareMemory for SpareFile {
    fn read(&self) -> BTreeMap<SinkName, Memory> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn write(&self, memories: &BTreeMap<SinkName, Memory>) {
        let text = serde_json::to_string(memories).expect("a memory has nothing that JSON cannot say");
        let written = match memories.is_empty() {
            true => fs::remove_file(&self.0),
            false => whole_file::replace(&self.0, text.as_bytes()),
        };
        if let Err(error) = written {
            let path = self.0.display();
            tracing::warn!(
                "{path} cannot be written ({error}), so an alert about the journal may be told twice"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Telling;
    use crate::time::Timestamp;

    #[test]
    fn what_was_told_is_kept_and_forgotten() {
        let folder = tempfile::tempdir().expect("a folder");
        let spare = SpareFile::beside(&folder.path().join("journal.db"));
        assert_eq!(spare.read(), BTreeMap::new());
        let mut memory = Memory::new(0);
        memory.refused(&Telling::test(Timestamp::EPOCH), None, Timestamp::EPOCH);
        let memories = BTreeMap::from([("pager".parse().expect("a name"), memory)]);
        spare.write(&memories);
        assert_eq!(spare.read(), memories);
        spare.write(&BTreeMap::new());
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 0);
        fs::write(&spare.0, "{").expect("written");
        assert_eq!(spare.read(), BTreeMap::new());
    }
}
