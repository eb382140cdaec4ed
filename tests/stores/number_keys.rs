//! Number keys that are set or changed while the store has numbers (S14).

use phonegate::call::HashedNumber;
use phonegate::store::KeyUse;

use super::*;

/// The keys of a node, the current one first. 0 means hashing without a key.
pub(super) type Keys = &'static [u8];

/// The keys before a change of the configuration, and after it.
const CHANGES: [(Keys, Keys); 3] = [(&[0], &[1, 0]), (&[1, 0], &[2, 1, 0]), (&[1, 2, 0], &[2, 1, 0])];

fn fingerprint(key: u8) -> KeyFingerprint {
    if key == 0 { KeyFingerprint::UNKEYED } else { KeyFingerprint::of_hash(&[key; 8]) }
}

pub(super) fn fingerprints(keys: Keys) -> Vec<KeyFingerprint> {
    keys.iter().copied().map(fingerprint).collect()
}

fn hashed(n: u128, extension: u128, key: u8) -> HashedNumber {
    let hash = |n: u128| NumberHash::parse(&format!("{:032x}", (u128::from(key) << 64) + n)).unwrap();
    HashedNumber { fingerprint: fingerprint(key), number: hash(n * 1000 + extension), line: hash(n * 1000) }
}

/// The n-th number, as a node with these keys has it.
pub(super) fn keyed_extension(n: u128, extension: u128, keys: Keys) -> StoredNumber {
    let HashedNumber { fingerprint, number: hash, line: line_hash } = hashed(n, extension, keys[0]);
    let otherwise = keys[1..].iter().map(|key| hashed(n, extension, *key)).collect();
    StoredNumber { hash, line_hash, fingerprint, otherwise, ..number(n) }
}

pub(super) fn keyed(n: u128, keys: Keys) -> StoredNumber {
    keyed_extension(n, 0, keys)
}

fn block(number: StoredNumber, reason: &str, until: Option<SystemTime>) -> Block {
    Block {
        number: number.hash,
        scope: BlockScope::Line,
        masked: number.masked,
        reason: reason.into(),
        since: at(0),
        until,
    }
}

fn is_refused<T: std::fmt::Debug>(answer: &Result<T, StoreError>, fingerprint: KeyFingerprint) -> bool {
    let named = format!("another number key (fingerprint {fingerprint})");
    answer.as_ref().is_err_and(|error| error.kind() == StoreErrorKind::Refused && error.detail().contains(&named))
}

#[test]
fn a_new_number_key_unblocks_nothing_and_resets_no_limit() {
    for (before, after) in CHANGES {
        on_every_store(async |open| {
            let (old, changed) = (open(), open());
            let limits = Limits { calls_per_number: 2, ..NO_LIMITS };
            for n in [41, 42] {
                let new = new(attempt(n, 1), keyed(4, before));
                assert_eq!(old.begin(&new, &limits).await, Ok(Begun::New));
                assert!(old.end(&end(new.attempt, failed(FailureReason::NoKeyPressed))).await.unwrap().is_done());
            }
            old.block(&block(keyed(1, before), "stolen", None)).await.unwrap();
            old.block(&block(keyed(2, before), "line", Some(at(1_000_000)))).await.unwrap();
            assert_eq!(begin(&old, &new(attempt(3, 1), keyed(3, before))).await, Begun::New);

            // Each node in turn, as in a farm whose nodes are changed one after the other.
            for (store, keys) in [(&changed, after), (&old, fingerprints_swapped(before, after)), (&changed, after)] {
                let ask = async |n, generation, number| {
                    store.begin(&new(attempt(n, generation), number), &limits).await.unwrap()
                };
                let blocked = |reason: &str, until| Begun::Refused(Refusal::Blocked { reason: reason.into(), until });
                assert_eq!(ask(1, 1, keyed(1, keys)).await, blocked("stolen", None));
                assert_eq!(ask(1, 1, keyed_extension(1, 7, keys)).await, blocked("stolen", None));
                assert_eq!(ask(2, 1, keyed_extension(2, 7, keys)).await, blocked("line", Some(at(1_000_000))));
                assert_eq!(ask(9, 1, keyed(3, keys)).await, Begun::Refused(Refusal::InProgress));
                assert_eq!(ask(3, 2, keyed(3, keys)).await, Begun::AlreadyOwned(1), "a repeat of a pending request");
                assert_eq!(ask(3, 2, keyed(9, keys)).await, Begun::Refused(Refusal::OtherNumber));
                let limited = ask(43, 1, keyed(4, keys)).await;
                assert!(
                    matches!(limited, Begun::Refused(Refusal::Limit { limit: CallLimit::CallsPerNumber, .. })),
                    "{limited:?}"
                );
            }
            // The earlier call ends and releases its number.
            assert!(old.end(&end(attempt(3, 1), failed(FailureReason::NoKeyPressed))).await.unwrap().is_done());
            let again = changed.begin(&new(attempt(9, 1), keyed(3, after)), &limits).await;
            assert_eq!(again, Ok(Begun::New));
            let all = |n: u128| after.iter().map(|key| hashed(n, 0, *key).number).collect::<Vec<_>>();
            let rows = changed.rows(&Query { numbers: all(4), limit: 10, ..Query::default() }).await.unwrap();
            assert_eq!(rows.iter().map(|row| row.attempt.id).collect::<Vec<_>>(), [id(41), id(42)]);
            assert_eq!(changed.blocks().await.unwrap().len(), 2);
        });
    }
}

/// The keys of the node that is not changed yet: it knows the next key already.
fn fingerprints_swapped(before: Keys, after: Keys) -> Keys {
    match (before[0], after[0]) {
        (0, 1) => &[0, 1],
        (1, 2) => &[1, 2, 0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_given_up_after_a_change_of_the_key_does_not_count() {
    on_every_store(async |open| {
        let store = open();
        let limits = Limits { calls_per_number: 1, ..NO_LIMITS };
        assert_eq!(store.begin(&new(attempt(1, 1), keyed(1, &[0])), &limits).await, Ok(Begun::New));
        let while_it_rings = store.begin(&new(attempt(2, 1), keyed(1, &[1, 0])), &limits).await;
        assert_eq!(while_it_rings, Ok(Begun::Refused(Refusal::InProgress)));
        store.record(&[update(attempt(1, 1), 9000, refused(Some(keyed(1, &[0]))))]).await.unwrap();
        assert_eq!(store.begin(&new(attempt(2, 1), keyed(1, &[1, 0])), &limits).await, Ok(Begun::New));
    });
}

#[test]
fn of_two_blocks_of_a_number_the_one_that_ends_later_is_kept() {
    on_every_store(async |open| {
        let store = open();
        let (soon, later) = (Some(at(1_000_000)), Some(at(2_000_000)));
        // A call by each key, so that the store has both.
        assert_eq!(begin(&store, &new(attempt(8, 1), keyed(8, &[0]))).await, Begun::New);
        assert_eq!(begin(&store, &new(attempt(9, 1), keyed(9, &[1, 0]))).await, Begun::New);
        for (n, old, current, kept) in
            [(1, None, soon, None), (2, soon, None, None), (3, later, soon, later), (4, soon, later, later)]
        {
            store.block(&block(keyed(n, &[0]), "old", old)).await.unwrap();
            store.block(&block(keyed(n, &[1]), "new", current)).await.unwrap();
            let refused = begin(&store, &new(attempt(n, 1), keyed(n, &[1, 0]))).await;
            let is_right = matches!(&refused, Begun::Refused(Refusal::Blocked { until, .. }) if *until == kept);
            assert!(is_right, "{n}: {refused:?}");
            assert!(!store.unblock(keyed(n, &[0]).hash).await.unwrap(), "it was moved");
            assert!(store.unblock(keyed(n, &[1]).hash).await.unwrap());
        }
    });
}

#[test]
fn a_node_without_a_key_of_the_store_begins_no_call() {
    on_every_store(async |open| {
        let (store, other) = (open(), open());
        let ask = async |n, keys| other.begin(&new(attempt(n, 1), keyed(n, keys)), &NO_LIMITS).await;
        let may_start = async |keys| other.use_number_keys(&fingerprints(keys), KeyUse::Read).await;
        for keys in [&[0][..], &[1, 0], &[2, 0]] {
            assert_eq!(may_start(keys).await, Ok(()), "the store is empty");
        }
        assert_eq!(begin(&store, &new(attempt(1, 1), keyed(1, &[1, 0]))).await, Begun::New);
        for keys in [&[0][..], &[2, 0]] {
            assert!(is_refused(&ask(2, keys).await, fingerprint(1)));
            assert!(is_refused(&may_start(keys).await, fingerprint(1)));
        }
        assert_eq!(all_rows(&store).await.len(), 1, "nothing was begun");
        // A process that starts with a further key changes nothing for the nodes.
        assert_eq!(may_start(&[2, 1, 0]).await, Ok(()));
        assert_eq!(ask(3, &[1, 0]).await, Ok(Begun::New));
        // A call with it does: the others must know the key.
        assert_eq!(ask(4, &[2, 1, 0]).await, Ok(Begun::New));
        assert!(is_refused(&store.begin(&new(attempt(5, 1), keyed(5, &[1, 0])), &NO_LIMITS).await, fingerprint(2)));
        assert!(is_refused(&may_start(&[1, 0]).await, fingerprint(2)));
        assert_eq!(ask(5, &[1, 2, 0]).await, Ok(Begun::New));
    });
}

#[test]
fn a_key_is_noted_before_a_block_is_written_with_it() {
    on_every_store(async |open| {
        for usage in [KeyUse::Write, KeyUse::WriteAny] {
            let key: Keys = if usage == KeyUse::Write { &[1, 0] } else { &[2, 1, 0] };
            let store = open();
            store.use_number_keys(&fingerprints(key), usage).await.unwrap();
            let without = open().use_number_keys(&fingerprints(&[0]), KeyUse::Read).await;
            assert_eq!(kind_of(without), StoreErrorKind::Refused);
        }
    });
}

#[test]
fn a_change_of_the_number_key_keeps_the_scope_of_a_block() {
    on_every_store(async |open| {
        let store = open();
        let scoped = |n, scope| Block { scope, ..block(keyed(n, &[0]), "stolen", None) };
        let (of_number, of_line) = (BlockScope::Number, BlockScope::Line);
        // A call, so that the store has the old key.
        assert_eq!(begin(&store, &new(attempt(8, 1), keyed(8, &[0]))).await, Begun::New);
        for block in [scoped(1, of_number), scoped(2, of_number), scoped(2, of_line)] {
            store.block(&block).await.unwrap();
        }
        let ask = async |n, number| begin(&store, &new(attempt(n, 1), number)).await;
        assert_eq!(ask(3, keyed_extension(1, 7, &[1, 0])).await, Begun::New);
        for number in [keyed(1, &[1, 0]), keyed(2, &[1, 0]), keyed_extension(2, 7, &[1, 0])] {
            let refused = ask(4, number).await;
            assert!(matches!(refused, Begun::Refused(Refusal::Blocked { .. })), "{refused:?}");
        }
        let mut moved: Vec<_> =
            store.blocks().await.unwrap().into_iter().map(|block| (block.number, block.scope)).collect();
        moved.sort_by_key(|(number, scope)| (number.to_string(), *scope));
        let (one, two) = (keyed(1, &[1]).hash, keyed(2, &[1]).hash);
        assert_eq!(moved, [(one, of_number), (two, of_number), (two, of_line)]);
        assert_eq!(ask(5, keyed_extension(1, 8, &[1, 0])).await, Begun::New);
    });
}
