//! A folder of server data that one run at a time may use.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result, bail};

use super::leash;

/// The mark of a run in a folder: two brokers on one folder would ruin its data.
#[derive(Debug)]
pub(super) struct FolderInUse {
    folder: PathBuf,
    mark: PathBuf,
}

impl FolderInUse {
    /// Makes the folder if need be, and marks it as ours. The mark of a process that is no more counts for nothing.
    pub(super) fn claim(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let mark = folder.join("in-use.pid");
        if let Ok(text) = fs::read_to_string(&mark) {
            if let Some(owner) = text.trim().parse().ok().filter(|&pid| leash::is_alive(pid)) {
                bail!("{} is in use by process {owner}; remove {} if it is not", folder.display(), mark.display());
            }
            fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
        }
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&mark) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!("{} has just been taken", folder.display()),
            opened => opened.with_context(|| format!("cannot write {}", mark.display()))?,
        };
        write!(file, "{}", process::id()).with_context(|| format!("cannot write {}", mark.display()))?;
        Ok(Self { folder: folder.to_owned(), mark })
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for FolderInUse {
    fn drop(&mut self) {
        // A mark left behind is that of a dead process, which counts for nothing.
        fs::remove_file(&self.mark).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_one_run_at_a_time_and_free_after_a_crash() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let first = FolderInUse::claim(dir.path())?;
        let refusal = FolderInUse::claim(dir.path()).map_err(|error| error.to_string());
        assert!(refusal.is_err_and(|text| text.contains("in use by process")));
        drop(first);
        drop(FolderInUse::claim(dir.path())?);

        let mut crashed = process::Command::new("true").spawn()?;
        fs::write(dir.path().join("in-use.pid"), crashed.id().to_string())?;
        crashed.wait()?;
        drop(FolderInUse::claim(dir.path())?);
        Ok(())
    }
}
