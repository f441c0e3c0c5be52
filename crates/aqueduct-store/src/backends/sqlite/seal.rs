//! The checksum of a checkpoint, over all that it says.
//!
//! SQLite has none of its own: a changed bit inside a page is read as it is. Positions hold a digest of the input in
//! front of them, which finds most of what can go wrong with those; this one also covers counts and file lengths.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::number;

/// The columns with numbers, in the order in which they are summed.
const NUMBERS: [&str; 11] = [
    "epoch",
    "at",
    "read",
    "spawned",
    "delivered",
    "dead_lettered",
    "skipped",
    "absorbed",
    "dropped",
    "abandoned",
    "in_flight",
];

/// The columns with texts.
const TEXTS: [&str; 4] = ["name", "positions", "files", "configuration"];

/// Gives a checkpoint that was just recorded its checksum, over the row as SQLite gave it back.
pub(super) async fn seal(
    connection: &mut SqliteConnection,
    pipeline: &str,
    name: &str,
    recorded: &SqliteRow,
) -> Result<(), sqlx::Error> {
    sqlx::query("update aqueduct_checkpoint set checksum = ? where pipeline = ? and name = ?")
        .bind(i64::from(checksum(recorded)?))
        .bind(pipeline)
        .bind(name)
        .execute(connection)
        .await?;
    Ok(())
}

/// Tells what is wrong with a checkpoint that has a checksum.
pub(super) fn damage(row: &SqliteRow) -> Option<String> {
    let kept = match row.try_get::<Option<i64>, _>("checksum") {
        Ok(Some(kept)) => kept,
        // A ledger of before format 3, which is read without being brought up to date.
        Ok(None) | Err(sqlx::Error::ColumnNotFound(_)) => return None,
        Err(error) => return Some(error.to_string()),
    };
    match checksum(row) {
        Ok(found) if i64::from(found) == kept => None,
        Ok(found) => Some(format!("its checksum is {found:08x} and should be {kept:08x}")),
        Err(error) => Some(error.to_string()),
    }
}

/// The CRC-32 of every column in turn, each text with its length in front.
fn checksum(row: &SqliteRow) -> Result<u32, sqlx::Error> {
    let mut sum = crc32fast::Hasher::new();
    for column in NUMBERS {
        sum.update(&row.try_get::<i64, _>(column)?.to_le_bytes());
    }
    for column in TEXTS {
        let text: String = row.try_get(column)?;
        sum.update(&number::signed(text.len() as u64)?.to_le_bytes());
        sum.update(text.as_bytes());
    }
    Ok(sum.finalize())
}
