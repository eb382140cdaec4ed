//! Servers that name others: nodes of a cluster, and sentinels.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// Returns the node that has all keys.
fn which_has_all(nodes: &[Redis]) -> usize {
    let keys: Vec<_> = nodes.iter().map(|node| node.cli(&["DBSIZE"]).trim().to_owned()).collect();
    assert_eq!(keys.iter().filter(|&size| size != "0").count(), 1, "one node has all keys: {keys:?}");
    keys.iter().position(|size| size != "0").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_followed_to_the_node_that_has_the_calls() {
    let nodes = Redis::cluster();
    let addresses: Vec<_> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    // Whichever node is configured, also if the first address does not answer.
    for (n, address) in (1..).zip(&addresses) {
        let store = open(&format!("redis://{},{address}?cluster=true", unused_address()));
        assert_eq!(begin(&store, n).await, Ok(Begun::New));
        assert!(store.find(id(1)).await.unwrap().is_some());
    }
    let from = which_has_all(&nodes);
    // The keys move to another node, and the store follows them.
    let store = open(&format!("redis://{}?cluster=true", addresses.join(",")));
    assert_eq!(begin(&store, 10).await, Ok(Begun::New));
    let slot = nodes[0].cli(&["CLUSTER", "KEYSLOT", "{phonegate}"]).trim().to_owned();
    let names: Vec<_> = nodes.iter().map(|node| node.cli(&["CLUSTER", "MYID"]).trim().to_owned()).collect();
    let to = (from + 1) % 3;
    nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &names[from]]);
    nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &names[to]]);
    loop {
        let some = nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        let some: Vec<_> = some.split_whitespace().collect();
        if some.is_empty() {
            break;
        }
        let to_port = nodes[to].port().to_string();
        nodes[from].cli(&[&["MIGRATE", "127.0.0.1", &to_port, "", "0", "5000", "KEYS"], &some[..]].concat());
    }
    for node in [to, from] {
        nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &names[to]]);
    }
    begin_at_last(&store, 11).await;
    assert!(store.find(id(1)).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_node_named_by_address_keeps_the_configured_name() {
    let nodes = Redis::cluster_with_tls();
    for (n, node) in (1..).zip(&nodes) {
        let store = open_with(&format!("{}?cluster=true", node.url()), &trusting(node)).unwrap();
        begin_at_last(&store, n).await;
        assert!(store.find(id(1)).await.unwrap().is_some());
    }
    let named = format!(" 127.0.0.1:{}", nodes[which_has_all(&nodes)].port());
    let leads_there = |node: &&Redis| node.cli(&["EXISTS", "{phonegate}:clock"]).trim().ends_with(&named);
    assert_eq!(nodes.iter().filter(leads_there).count(), 2, "two nodes lead to the third");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_are_asked_again_when_the_master_changes() {
    let mut master = Redis::start();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    support::wait_until("the replica has caught up", || {
        replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let sentinel = Redis::sentinel_of(&master, "mymaster");
    support::wait_until("the sentinel knows the replica", || {
        sentinel.cli(&["SENTINEL", "REPLICAS", "mymaster"]).contains(&replica.port().to_string())
    });
    let url = |name: &str| format!("redis://{},127.0.0.1:{}?sentinel={name}", unused_address(), sentinel.port());
    let unknown = problem(begin(&open(&url("another")), 1).await);
    assert!(unknown.contains("knows no master another"), "{unknown}");
    let store = open(&url("mymaster"));
    assert_eq!(begin(&store, 1).await, Ok(Begun::New));
    support::wait_until("the replica has it", || replica.cli(&["EXISTS", "{phonegate}:attempt:1"]).trim() == "1");
    master.kill();
    begin_at_last(&store, 2).await;
    assert_eq!(replica.cli(&["EXISTS", "{phonegate}:attempt:1", "{phonegate}:attempt:2"]).trim(), "2");
}

/// With TLS and a password, as required across machines.
async fn leads_to_its_master(master: &Redis, sentinel: &Redis) {
    let url = |login: &str| format!("rediss://{login}localhost:{}?sentinel=mymaster", sentinel.port());
    let store = open_with(&url(":open%40sesame@"), &trusting(master)).unwrap();
    begin_at_last(&store, 1).await;
    assert_eq!(master.cli(&["EXISTS", "{phonegate}:attempt:1"]).trim(), "1");
    // Without a password, the sentinel or the master refuses.
    let none = problem(begin(&open_with(&url(""), &trusting(master)).unwrap(), 2).await);
    assert!(none.contains("store.url has none"), "{none}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_without_a_password_leads_to_a_master_with_one() {
    let master = Redis::with_tls();
    leads_to_its_master(&master, &Redis::sentinel_with_tls(&master, "mymaster")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_with_a_password_gets_that_of_the_master() {
    let master = Redis::with_tls();
    let sentinel = Redis::sentinel_with_tls_and_password(&master, "mymaster");
    leads_to_its_master(&master, &sentinel).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_a_sentinel_calls_the_master_is_not_used() {
    let master = Redis::start();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &master.port().to_string()]);
    let mistaken = Redis::sentinel_of(&replica, "mymaster");
    let store = open(&format!("redis://127.0.0.1:{}?sentinel=mymaster", mistaken.port()));
    let refused = problem(begin(&store, 1).await);
    assert!(refused.contains("names a server that is no master"), "{refused}");
}

/// A server that gives one answer to every command.
struct FixedAnswerServer {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl FixedAnswerServer {
    /// Starts one, until the process ends. The answer is as it is sent, without its last line end.
    fn says(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, heard) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<String>>>::default());
        let ears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, ears) = (answer.clone(), Arc::clone(&ears));
                std::thread::spawn(move || Self::converse(stream.unwrap(), &answer, &ears));
            }
        });
        Self { port, heard }
    }

    fn converse(mut stream: TcpStream, answer: &str, heard: &Mutex<Vec<String>>) -> Option<()> {
        let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
        loop {
            // Each word is a line, after one with its length.
            let count: usize = lines.next()?.strip_prefix('*')?.parse().ok()?;
            let words: Vec<_> = lines.by_ref().take(2 * count).collect();
            let words: Vec<_> = words.chunks_exact(2).map(|word| word[1].as_str()).collect();
            // The description that the crate sends of itself.
            let is_greeting = words.first() == Some(&"CLIENT");
            if !is_greeting {
                heard.lock().unwrap().push(words.join(" "));
            }
            write!(stream, "{}\r\n", if is_greeting { "+OK" } else { answer }).ok()?;
        }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_server_named_by_another_is_not_used_without_tls() {
    for (answer, kind, question) in [
        ("-MOVED 1 192.0.2.1:6379", "cluster=true", "EXISTS {phonegate}:clock"),
        ("*2\r\n$9\r\n192.0.2.1\r\n$4\r\n6379", "sentinel=mymaster", "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster"),
    ] {
        let parrot = FixedAnswerServer::says(answer.to_owned());
        let store = open(&format!("redis://127.0.0.1:{}?{kind}", parrot.port));
        let refused = problem(begin(&store, 1).await);
        assert!(refused.contains("names a server beyond this machine"), "{refused}");
        assert_eq!(parrot.heard(), [question], "and nothing else is tried");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_node_named_by_port_is_on_the_same_host() {
    let redis = Redis::start();
    let parrot = FixedAnswerServer::says(format!("-MOVED 1 :{}", redis.port()));
    let store = open(&format!("redis://127.0.0.1:{}?cluster=true", parrot.port));
    begin_at_last(&store, 1).await;
    assert_eq!(redis.cli(&["EXISTS", "{phonegate}:attempt:1"]).trim(), "1");
}
