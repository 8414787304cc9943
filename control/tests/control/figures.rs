//! Figures, printed: `make bench-control`, with FIGURES=sequencing those of the audit log alone. Ratios are measured side by
//! side in one run.

#![allow(clippy::print_stdout, reason = "figures are for reading")]

use crate::cluster::Cluster;
use crate::service::Control;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TENANTS: usize = 200;
const ROUNDS: usize = 4_000;
const FAIR_SECONDS: u64 = 20;
const WRITE_SECONDS: u64 = 10;
const WRITERS: usize = 2;
const PAIRS: usize = 5;
const SAMPLERS: usize = 5;
const SAMPLES: usize = 80;
const FLOOD: usize = 16;

/// One kept connection.
struct Client(BufReader<TcpStream>);

impl Client {
    fn open(control: &Control) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", control.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    /// Status and version of an answer.
    fn ask(
        &mut self,
        key: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String) {
        let length = body.len();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(text.as_bytes()).unwrap();
        let (mut status, mut length, mut etag) = (0, 0, String::new());
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).unwrap();
            let lower = line.trim().to_ascii_lowercase();
            if status == 0 {
                status = lower[9..12].parse().unwrap();
            } else if let Some(value) = lower.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            } else if let Some(value) = lower.strip_prefix("etag: ") {
                etag = value.to_owned();
            } else if lower.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        (status, etag)
    }
}

fn quantile(times: &mut [f64], q: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times[((times.len() - 1) as f64 * q) as usize]
}

fn timed<T>(times: &mut Vec<f64>, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    times.push(began.elapsed().as_secs_f64() * 1e3);
    done
}

#[test]
#[ignore = "make bench-control"]
fn figures() {
    let cluster = Cluster::start_durable("figures");
    let mut control = Control::start_on(
        &cluster,
        &[("TOLLGATE_POOLS__BACKENDS_MAX", "220"), ("TOLLGATE_POOLS__IDLE_MS", "600000")],
    );
    let mut client = Client::open(&control);
    let mut ready = Vec::new();
    for at in 0..TENANTS {
        timed(&mut ready, || control.tenant(&format!("tenant-{at:03}")));
    }
    println!(
        "tenant ready, {TENANTS} one after another: p50 {:.0} ms, p95 {:.0} ms",
        quantile(&mut ready, 0.5),
        quantile(&mut ready, 0.95)
    );
    let mut keys = Vec::new();
    for at in 0..TENANTS {
        keys.push(control.key(&format!("tenant-{at:03}"), &["tenant-admin"], &[]));
    }
    if std::env::var("FIGURES").is_ok_and(|only| only == "sequencing") {
        return sequencing(&mut control, &cluster, &keys);
    }
    fleet(&mut control);
    ratios(&control, &mut client, &keys);
    sequencing(&mut control, &cluster, &keys);
    control.set("TOLLGATE_POOLS__BACKENDS_MAX", "40");
    control.set("TOLLGATE_POOLS__IDLE_MS", "30000");
    control.kill();
    control.again();
    fairness(&control, &cluster, &keys);
}

/// A migration with nothing to do, and one of every tenant's database.
fn fleet(control: &mut Control) {
    let run = |control: &Control| {
        let began = Instant::now();
        let made = control.ask(&control.admin, "POST", "/v1/migrations", None);
        let path = format!("{}?wait_ms=30000", made.header("location").unwrap());
        while control.ask(&control.admin, "GET", &path, None).json()["state"] != "succeeded" {}
        began.elapsed().as_secs_f64()
    };
    let nothing = run(control);
    for at in 0..TENANTS {
        crate::fleet::put_back(control, &format!("tenant-{at:03}"), false);
    }
    println!(
        "migration of {TENANTS} databases: nothing to do {nothing:.2} s, a function each {:.2} s",
        run(control)
    );
}

fn ratios(control: &Control, client: &mut Client, keys: &[String]) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let connect = |url: String| {
        let (client, connection) =
            runtime.block_on(tokio_postgres::connect(&url, tokio_postgres::NoTls)).unwrap();
        runtime.spawn(connection);
        client
    };
    let places: Vec<(String, String)> =
        (0..keys.len()).map(|at| control.placement(&format!("tenant-{at:03}"))).collect();
    let ids: Vec<String> = (0..keys.len())
        .map(|at| {
            let listed = control
                .ask(&keys[at], "GET", &format!("/v1/tenants/tenant-{at:03}/api-keys"), None)
                .json();
            listed["data"][0]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    // Bare connections to a part of the databases: all of them warm, as the pool's are.
    let bare: Vec<_> =
        places.iter().take(50).map(|(database, _)| connect(control.url(database))).collect();
    for one in &bare {
        runtime
            .block_on(one.batch_execute("CREATE TABLE bare (id bigserial PRIMARY KEY, name text)"))
            .unwrap();
    }
    let mut random = fastrand::Rng::with_seed(1);
    let mut versions = vec!["\"1\"".to_owned(); keys.len()];
    let (mut select, mut read, mut insert, mut write) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let at = random.usize(..keys.len());
        let one = &bare[at % bare.len()];
        let path = format!("/v1/tenants/tenant-{at:03}/api-keys/{}", ids[at]);
        timed(&mut select, || {
            let statement =
                "SELECT id, name, roles, scopes, created_by, version FROM api_keys WHERE id = $1";
            let id: &(dyn tokio_postgres::types::ToSql + Sync) = &ids[at % bare.len()];
            runtime
                .block_on(one.query_typed(statement, &[(id, tokio_postgres::types::Type::TEXT)]))
                .unwrap()
        });
        let (status, _) = timed(&mut read, || client.ask(&keys[at], "GET", &path, "", ""));
        assert_eq!(status, 200);
        if round % 4 == 0 {
            timed(&mut insert, || {
                runtime.block_on(async {
                    one.batch_execute("BEGIN").await.unwrap();
                    let name: &(dyn tokio_postgres::types::ToSql + Sync) = &"name";
                    one.query_typed(
                        "INSERT INTO bare (name) VALUES ($1)",
                        &[(name, tokio_postgres::types::Type::TEXT)],
                    )
                    .await
                    .unwrap();
                    one.batch_execute("COMMIT").await.unwrap();
                });
            });
            let header = format!("if-match: {}\r\n", versions[at]);
            let body = format!("{{\"name\":\"n{round}\"}}");
            let (status, etag) =
                timed(&mut write, || client.ask(&keys[at], "PATCH", &path, &header, &body));
            assert_eq!(status, 200);
            versions[at] = etag;
        }
    }
    for (name, bare, ours) in [("read", &mut select, &mut read), ("write", &mut insert, &mut write)]
    {
        let (of_bare, of_ours) = (quantile(bare, 0.95), quantile(ours, 0.95));
        println!(
            "{name}: bare p50 {:.2} p95 {of_bare:.2} ms, through the API p50 {:.2} p95 {of_ours:.2} ms, ratio of p95 {:.2}",
            quantile(bare, 0.5),
            quantile(ours, 0.5),
            of_ours / of_bare
        );
    }
}

/// What the sequencer costs those who write, and how soon an event has its number.
fn sequencing(control: &mut Control, cluster: &Cluster, keys: &[String]) {
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let mut rate = |jobs: &str| {
            control.set("TOLLGATE_JOBS__ENABLED", jobs);
            control.kill();
            control.again();
            // What a start and a checkpoint cost, 200 connections and whole pages in the log, is no writer's.
            cluster.psql("postgres", "CHECKPOINT").unwrap();
            writes(control, keys);
            writes(control, keys)
        };
        // By turns first: whatever drifts, drifts against both.
        let [without, with] = match pair % 2 {
            0 => ["false", "true"].map(&mut rate),
            _ => {
                let [with, without] = ["true", "false"].map(&mut rate);
                [without, with]
            }
        };
        println!("writes a second: {without:.0} without jobs, {with:.0} with them");
        ratios.push(with / without);
    }
    println!("writes with the sequencer over those without: {:.2}", quantile(&mut ratios, 0.5));
    let is_over = AtomicBool::new(false);
    let mut soon: Vec<f64> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut client, mut random) = (Client::open(control), fastrand::Rng::with_seed(3));
            while !is_over.load(Ordering::Relaxed) {
                write(&mut client, keys, random.usize(SAMPLERS..keys.len()));
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let (control, keys) = (&*control, keys);
        let samplers: Vec<_> =
            (0..SAMPLERS).map(|at| scope.spawn(move || samples(control, keys, at))).collect();
        let soon = samplers.into_iter().flat_map(|sampler| sampler.join().unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        soon
    });
    println!(
        "an event has its number: p50 {:.0} ms, p99 {:.0} ms",
        quantile(&mut soon, 0.5),
        quantile(&mut soon, 0.99)
    );
}

/// How soon events of one tenant have their numbers, in ms.
fn samples(control: &Control, keys: &[String], at: usize) -> Vec<f64> {
    let (mut soon, mut client) = (Vec::new(), Client::open(control));
    let newest = format!("/v1/tenants/tenant-{at:03}/audit-events?sort=-at&limit=1");
    for sample in 0..SAMPLES {
        write(&mut client, keys, at);
        timed(&mut soon, || {
            while control.ask(&keys[at], "GET", &newest, None).json()["data"][0]["seq"].is_null() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // Not in step with the looks.
        std::thread::sleep(Duration::from_millis((sample + at) as u64 * 37 % 200));
    }
    soon
}

/// Writes a second, of all tenants in turn.
fn writes(control: &Control, keys: &[String]) -> f64 {
    let (done, began) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let done = &done;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(writer as u64);
                let mut client = Client::open(control);
                while began.elapsed() < Duration::from_secs(WRITE_SECONDS) {
                    write(&mut client, keys, random.usize(..keys.len()));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner() as f64 / began.elapsed().as_secs_f64()
}

fn write(client: &mut Client, keys: &[String], at: usize) {
    let path = format!("/v1/tenants/tenant-{at:03}/settings/tenant.currency");
    let (status, _) = client.ask(&keys[at], "PUT", &path, "if-match: *\r\n", "{\"value\":\"USD\"}");
    assert_eq!(status, 200);
}

/// Each tenant asks once a second; one floods.
fn fairness(control: &Control, cluster: &Cluster, keys: &[String]) {
    let (done, refused, flooded, most) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..FLOOD {
            scope.spawn(|| {
                let mut client = Client::open(control);
                while !is_over.load(Ordering::Relaxed) {
                    client.ask(&keys[0], "GET", "/v1/tenants/tenant-000/api-keys", "", "");
                    flooded.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let workers: Vec<_> = (1..keys.len())
            .map(|at| {
                let (done, refused) = (&done, &refused);
                scope.spawn(move || {
                    let mut client = Client::open(control);
                    std::thread::sleep(Duration::from_millis(at as u64 * 5));
                    for _ in 0..FAIR_SECONDS {
                        let began = Instant::now();
                        let path = format!("/v1/tenants/tenant-{at:03}/settings/tenant.currency");
                        let (status, _) = client.ask(&keys[at], "GET", &path, "", "");
                        done.fetch_add(1, Ordering::Relaxed);
                        refused.fetch_add(usize::from(status != 200), Ordering::Relaxed);
                        std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
                    }
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let open = cluster.psql("postgres", "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'd\\_%' AND application_name = 'tollgate-control'");
                most.fetch_max(open.unwrap().parse().unwrap(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        is_over.store(true, Ordering::Relaxed);
        watch.join().unwrap();
    });
    let scrape = crate::service::exchange(control.ops, "GET", "/metrics", "", "").text;
    println!(
        "{} calls of {} tenants, {} refused; the flooding one had {}; at most {} backends seen",
        done.into_inner(),
        keys.len() - 1,
        refused.into_inner(),
        flooded.into_inner(),
        most.into_inner()
    );
    for series in ["tollgate_control_pool_wait_seconds", "tollgate_control_connect_seconds"] {
        for line in scrape.lines().filter(|line| line.starts_with(series) && !line.contains("_sum"))
        {
            println!("{line}");
        }
    }
}
