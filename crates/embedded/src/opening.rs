//! What is looked at before the file is used: that it is its owner's alone, and was sealed with the key that is there.

use std::fs::{DirBuilder, OpenOptions, Permissions, set_permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hookyard_core::Entropy;
use hookyard_core::seal::{SealError, SealingKeys};
use hookyard_wire::stored::{StoredError, read_endpoint};
use rusqlite::{Connection, OptionalExtension as _};

/// What is sealed, and where it lies.
const SEAL_CHECK: &[u8] = b"hookyard";
const SEAL_PLACE: &[u8] = b"seal";
/// Files hold payloads: nobody but their owner reads them.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Why the keys do not fit the file.
#[derive(Debug, thiserror::Error)]
pub enum WrongKey {
    /// The check does not open.
    #[error(transparent)]
    Check(#[from] SealError),
    /// In a file without a check, an endpoint does not open.
    #[error(transparent)]
    Endpoint(#[from] StoredError),
    /// The file cannot be read or written.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

/// Makes the folder unless it is there, readable by its owner alone.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)
}

/// Makes the file unless it is there, and leaves it, and what SQLite keeps beside it, to its owner alone. What SQLite makes later has the
/// mode of the file.
pub fn keep_private(file: &Path) -> io::Result<()> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(FILE_MODE).open(file)?;
    for beside in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(beside);
        match set_permissions(PathBuf::from(name), Permissions::from_mode(FILE_MODE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether the keys are those the file was sealed with; the first to open it seals the check.
pub fn check_seal(connection: &Connection, keys: &SealingKeys, entropy: &dyn Entropy) -> Result<(), WrongKey> {
    let sealed: Option<String> = connection.query_row("SELECT sealed FROM seal", [], |row| row.get(0)).optional()?;
    if let Some(sealed) = sealed {
        keys.open(&sealed, SEAL_PLACE)?;
        return Ok(());
    }
    // Of a program before the check was: an endpoint tells as well.
    let any = "SELECT record FROM endpoints WHERE deleted_at IS NULL LIMIT 1";
    let endpoint: Option<String> = connection.query_row(any, [], |row| row.get(0)).optional()?;
    if let Some(endpoint) = endpoint {
        read_endpoint(endpoint.as_bytes(), keys)?;
    }
    let sealed = keys.seal(SEAL_CHECK, SEAL_PLACE, entropy)?;
    connection.execute("INSERT INTO seal (sealed) VALUES (?1)", [sealed])?;
    Ok(())
}
