use std::fs;

use super::super::attempts::beside;
use super::super::tables::{BODIES, HEADS};
use super::attempts::left_by_a_kill;
use super::damage::{damage, images, lay_down};
use super::*;
use crate::error::OpenError;

#[test]
fn a_sound_file_is_found_sound_and_left_alone() {
    for image in images() {
        let (folder, path) = lay_down(&image);
        let report = crate::verify(&path).expect("looked through");
        assert_eq!(report.damaged, []);
        assert_eq!(report.messages, image.model.heads.len() as u64);
        assert_eq!(report.dead, image.model.dead.len() as u64);
        assert_eq!(report.groups, image.model.groups.len() as u64);
        assert_eq!(report.remembered, image.model.remembered.len() as u64);

        let to = folder.path().join("repaired");
        let report = crate::repair(&path, &to).expect("repaired");
        assert_eq!((report.half, report.lost, report.lost_unnamed), (vec![], vec![], Some(0)));
        let (log, loaded) = open(&to);
        assert_eq!(Model::of(&loaded), image.model);
        assert_eq!(read_all(&log, &image.model), Vec::<u64>::new());
        assert!(fs::read(&path).expect("there") == image.file, "it was changed");
        assert!(fs::read(beside(&path)).expect("there") == image.beside, "it was changed");

        let error = crate::repair(&path, &to).expect_err("it is there already");
        assert!(matches!(error, OpenError::InUse { .. } | OpenError::System { .. }), "{error}");
    }
}

#[test]
fn numbers_and_attempts_go_on_in_a_repaired_file() {
    let (folder, path) = place();
    let (log, loaded) = open(&path);
    put(&log, vec![Change::Group(group(1, false)), insert(1), insert(4)]).expect("written");
    put(&log, vec![Change::Remove(MessageId(4))]).expect("written");
    log.begin(&[(MessageId(1), 3)]).expect("noted");
    let (_folder, killed) = left_by_a_kill(&path);
    let to = folder.path().join("repaired");
    crate::repair(&killed, &to).expect("repaired");
    let (_log, after) = open(&to);
    assert_eq!(after.next_id, 5);
    assert!(after.opening > loaded.opening);
    assert_eq!(after.heads[0].attempts, 3);
}

/// Does to the tables of a file what only damage does.
fn tamper(path: &Path, work: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(path).expect("a database");
    let transaction = database.begin_write().expect("begun");
    work(&transaction);
    transaction.commit().expect("committed");
}

#[test]
fn half_a_message_becomes_a_dead_letter_and_says_why() {
    let (folder, path) = place();
    let (log, _) = open(&path);
    let groups = (0..3).map(|id| Change::Group(group(id, false)));
    put(&log, groups.chain((1..=6).map(insert)).collect()).expect("written");
    drop(log);
    tamper(&path, |transaction| {
        // Message 2 has no body, 3 another one's, 4 no head, and 5 nothing that is right.
        let mut bodies = transaction.open_table(BODIES).expect("there");
        bodies.remove(2).expect("there");
        let other = record::body(MessageId(6), &body(6));
        bodies.insert(3, other.as_slice()).expect("written");
        bodies.insert(5, &[1, 2, 3][..]).expect("written");
        let mut heads = transaction.open_table(HEADS).expect("there");
        heads.remove(4).expect("there");
        heads.insert(5, &b"nothing"[..]).expect("written");
    });
    let error = try_open(&path, &clock()).expect_err("it is damaged");
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    let found = crate::verify(&path).expect("looked through");
    let said: Vec<String> = found.damaged.iter().map(|damage| damage.what.clone()).collect();
    for what in
        ["the body of message 2", "the body of message 3", "the head of message 4", "the head of message 5"]
    {
        assert!(said.iter().any(|said| said == what), "{what} in {said:?}");
    }
    assert_eq!(found.messages, 2);

    let to = folder.path().join("repaired");
    let report = crate::repair(&path, &to).expect("repaired");
    assert_eq!(report.half, [2, 3, 4].map(MessageId));
    assert_eq!(report.lost, [MessageId(5)]);
    assert_eq!(report.lost_unnamed, Some(0));
    assert_eq!((report.messages, report.dead), (5, 3));
    let (log, loaded) = open(&to);
    let dead: Vec<u64> = loaded.dead.iter().map(|(id, _)| id.0).collect();
    assert_eq!(dead, [2, 3, 4]);
    assert!(loaded.dead.iter().all(|(_, dead)| dead.cause == DeadCause::Corrupt), "{:?}", loaded.dead);
    for id in [1, 4, 6] {
        assert_eq!(log.read(MessageId(id)), Ok(body(id)));
    }
    for id in [2, 3] {
        assert!(matches!(log.read(MessageId(id)), Err(ReadError::Corrupt(_))));
    }
    // What has lost its group has one of its own, of which nobody is handed anything.
    let stray = loaded.groups.last().expect("there");
    assert_eq!((&*stray.queue, &*stray.name, stray.paused), ("repaired", "stray", true));
    assert_eq!(loaded.heads[3].group, stray.id);
    // It can be worked off like any other.
    put(&log, [1, 2, 3, 4, 6].map(|id| Change::Remove(MessageId(id))).into()).expect("written");
    drop(log);
    assert_eq!(open(&to).1.heads, []);
}

#[test]
fn a_repair_of_any_damage_saves_what_is_right_and_counts_the_rest() {
    let whole = images();
    let mut random = Random::seeded(8);
    let (mut there, mut saved) = (0, 0);
    for round in 0..200 {
        let mut image = whole[round % 2].clone();
        let how = damage(&mut image, &mut random);
        let (folder, path) = lay_down(&image);
        let opened = try_open(&path, &clock()).map(drop);
        // That one changed the files.
        let (_folder, path) = lay_down(&image);
        let to = folder.path().join("repaired");
        let verified = crate::verify(&path);
        let report = match crate::repair(&path, &to) {
            Ok(report) => report,
            Err(error) => {
                // A file that begins with nothing of ours cannot be told from one of somebody else.
                assert!(matches!(error, OpenError::NotOurs { .. }), "round {round}, {how}: {error}");
                assert!(verified.is_err());
                continue;
            }
        };
        let verified = verified.expect("as the repair was");
        assert!(opened.is_ok() || !verified.damaged.is_empty(), "round {round}, {how}: {opened:?}");
        assert_eq!(report.damaged, verified.damaged, "round {round}, {how}");

        let (log, loaded) = open(&to);
        let corrupt = read_all(&log, &Model::of(&loaded));
        let half: Vec<u64> = report.half.iter().map(|id| id.0).collect();
        assert!(corrupt.iter().all(|id| half.contains(id)), "round {round}, {how}: {corrupt:?} {half:?}");
        for (id, dead) in &loaded.dead {
            assert!(image.model.dead.contains_key(&id.0) || dead.cause == DeadCause::Corrupt);
        }
        for head in &loaded.heads {
            if let Some(written) = image.model.heads.get(&head.id.0)
                && !half.contains(&head.id.0)
                && verified.damaged.is_empty()
            {
                assert_eq!(head, written, "round {round}, {how}");
            }
        }
        let count = image.model.heads.len() as u64;
        let unnamed = report.lost_unnamed;
        let known = report.messages + report.lost.len() as u64 + unnamed.unwrap_or(0);
        assert!(unnamed.is_none() || known >= count, "round {round}, {how}: {report:?}");
        assert!(verified.damaged.is_empty() <= (report.messages == count), "round {round}, {how}");
        there += count;
        let right = |id: &u64| loaded.heads.iter().any(|head| head.id.0 == *id) && !half.contains(id);
        saved += image.model.heads.keys().filter(|id| right(id)).count() as u64;
    }
    println!("{saved} of {there} messages were saved");
    assert!(saved * 100 > there * 85, "{saved} of {there}");
}
