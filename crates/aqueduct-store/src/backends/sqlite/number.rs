//! SQLite keeps integers of 64 bits with a sign; ours have none.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// Gives a count the form in which SQLite keeps it.
pub(super) fn signed(number: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(number).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// Reads a count.
pub(super) fn unsigned(row: &SqliteRow, column: &str) -> Result<u64, sqlx::Error> {
    narrow(row, column)
}

/// Reads an integer into a type that does not hold every value of a column.
pub(super) fn narrow<T>(row: &SqliteRow, column: &str) -> Result<T, sqlx::Error>
where
    T: TryFrom<i64>,
    T::Error: std::error::Error + Send + Sync + 'static,
{
    T::try_from(row.try_get::<i64, _>(column)?)
        .map_err(|error| sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() })
}

/// The error for a kept value that this build does not understand.
pub(super) fn unreadable(column: &str, error: impl Into<crate::error::BackendError>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: error.into() }
}
