//! Takes a pipeline over.

use aqueduct_core::failpoint;
use sqlx::SqliteConnection;

use super::fault::Stop;
use super::{number, read, transaction};
use crate::contract::{Claim, Claimed};

pub(super) async fn claim(connection: &mut SqliteConnection, claim: Claim) -> Result<Claimed, Stop> {
    failpoint::hit("claim-before")?;
    transaction::begin(connection).await?;
    let claimed = take_over(connection, &claim).await;
    let claimed = transaction::end(connection, claimed.map_err(Stop::Sql)).await?;
    failpoint::hit("claim-after")?;
    Ok(claimed)
}

async fn take_over(connection: &mut SqliteConnection, claim: &Claim) -> Result<Claimed, sqlx::Error> {
    raise_fence(connection, claim).await?;
    number_partitions(connection, claim).await?;
    let ledger = read::ledger(connection, &claim.pipeline).await?.ok_or(sqlx::Error::RowNotFound)?;
    let known = |name: &String| ledger.partitions.iter().find(|known| known.name == *name).cloned();
    let partitions: Option<Vec<_>> = claim.partitions.iter().map(known).collect();
    Ok(Claimed {
        fence: ledger.fence,
        generation: ledger.generation,
        partitions: partitions.ok_or(sqlx::Error::RowNotFound)?,
        ledger,
    })
}

/// Starts a run: a higher fence, and a new generation if the configuration is another one.
async fn raise_fence(connection: &mut SqliteConnection, claim: &Claim) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into aqueduct_pipeline (pipeline, fence, generation, configuration, epoch, started, last_seen)
         values (?1, 1, 1, ?2, 0, ?3, ?3)
         on conflict (pipeline) do update set
             fence = fence + 1,
             generation = generation + (configuration <> excluded.configuration),
             configuration = excluded.configuration,
             abandoned = abandoned + in_flight,
             in_flight = 0,
             started = excluded.started,
             last_seen = excluded.last_seen,
             outcome = null",
    )
    .bind(&claim.pipeline)
    .bind(&claim.configuration)
    .bind(claim.at.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives every partition that is new here the next number, in the order of the claim.
async fn number_partitions(connection: &mut SqliteConnection, claim: &Claim) -> Result<(), sqlx::Error> {
    let row =
        sqlx::query("select coalesce(max(id) + 1, 0) as next from aqueduct_partition where pipeline = ?")
            .bind(&claim.pipeline)
            .fetch_one(&mut *connection)
            .await?;
    let mut next: u32 = number::narrow(&row, "next")?;
    for name in &claim.partitions {
        let added = sqlx::query(
            "insert into aqueduct_partition (pipeline, id, name, revision) values (?, ?, ?, 0)
             on conflict (pipeline, name) do nothing",
        )
        .bind(&claim.pipeline)
        .bind(next)
        .bind(name)
        .execute(&mut *connection)
        .await?;
        next += u32::from(added.rows_affected() > 0);
    }
    Ok(())
}
