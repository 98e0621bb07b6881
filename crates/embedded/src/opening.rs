//! What is looked at before the file is used: that it is its owner's alone, and was sealed with a key that is there.

use std::fs::{DirBuilder, OpenOptions, Permissions, set_permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hookyard_core::Entropy;
use hookyard_core::seal::{SealError, SealingKeys};
use hookyard_wire::stored::{StoredError, read_endpoint};
use rusqlite::{Connection, OptionalExtension as _};

/// Where the seal check lies.
const SEAL_PLACE: &[u8] = b"seal";
/// The file holds payloads: only its owner reads it.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
/// Everything of a mode that is not the owner's.
const OTHERS: u32 = 0o077;

/// Makes the folder unless it is there, for its owner alone.
///
/// # Errors
/// When it cannot be made.
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
        let path = PathBuf::from(name);
        let is_open = path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & OTHERS != 0);
        if is_open && let Err(error) = set_permissions(&path, Permissions::from_mode(FILE_MODE)) {
            // Another user's, on a volume that is shared, say: it works, and is told.
            tracing::warn!(%error, file = %path.display(), "others may read the database");
        }
    }
    Ok(())
}

/// Whether the keys are those that the file was sealed with: by its check or, in a file of an older program, by its endpoints. Before the file
/// is changed in any way.
///
/// # Errors
/// Of the database; within, why the keys are others.
pub fn judge_seal(connection: &Connection, keys: &SealingKeys) -> rusqlite::Result<Result<(), SealError>> {
    let has = |table: &str| -> rusqlite::Result<bool> {
        connection.query_row("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1", [table], |row| row.get(0))
    };
    if has("seal")? {
        let sealed: Option<String> = connection.query_row("SELECT sealed FROM seal", [], |row| row.get(0)).optional()?;
        if let Some(sealed) = sealed {
            return Ok(keys.check(&sealed, SEAL_PLACE));
        }
    }
    if !has("endpoints")? {
        return Ok(Ok(()));
    }
    let mut query = connection.prepare("SELECT record FROM endpoints WHERE deleted_at IS NULL")?;
    let (mut records, mut judged) = (query.query([])?, Ok(()));
    while let Some(record) = records.next()? {
        let record: String = record.get(0)?;
        match read_endpoint(record.as_bytes(), keys) {
            // An endpoint that does not open beside this one stops its own deliveries alone.
            Ok(_) => return Ok(Ok(())),
            Err(StoredError::Seal(error @ SealError::UnknownKey(_))) => judged = Err(error),
            Err(_) => {}
        }
    }
    Ok(judged)
}

/// Seals the check, if there is none.
pub fn seal(connection: &Connection, keys: &SealingKeys, entropy: &dyn Entropy) -> rusqlite::Result<Result<(), SealError>> {
    let sealed = match keys.seal_check(SEAL_PLACE, entropy) {
        Ok(sealed) => sealed,
        Err(error) => return Ok(Err(error)),
    };
    connection.execute("INSERT INTO seal (sealed) SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM seal)", [sealed]).map(|_| Ok(()))
}
