//! Each tenant holds a canary of its own in every table; whoever asks, however many ask at once, sees its own alone.

use crate::cluster::cluster;
use crate::service::{Answer, Control, exchange};
use fastrand::Rng;
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `make isolation` asks for more.
fn size(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// Rows of every table of a tenant that the requests do not fill; `{}` is the canary.
const ROWS: &str = "SET session_replication_role = replica;
    INSERT INTO users (id, issuer, subject, display_name, email) VALUES ('{}', '{}', '{}', '{}', '{}');
    INSERT INTO groups (id, display_name) VALUES ('{}', '{}');
    INSERT INTO group_members (group_id, user_id) VALUES ('{}', '{}');
    INSERT INTO roles (name, permissions) VALUES ('{}', '{\"{}\"}');
    INSERT INTO role_bindings (id, subject_type, subject_id, role) VALUES ('{}', 'user', '{}', '{}');
    INSERT INTO break_glass_grants (id, holder, reason, needs_approval, expires_at) VALUES ('{}', '{}', '{}', false, now());
    INSERT INTO sessions (id, user_id, hash, expires_at) VALUES ('{}', '{}', '{}', now() + interval '1 day');
    INSERT INTO policy_drafts (name, files) VALUES ('{}', '{\"policy.csv\": \"{}\"}');
    INSERT INTO policy_versions (name, number, files, published_by) VALUES ('{}', 1, '{\"policy.csv\": \"{}\"}', '{}');
    INSERT INTO limits (id, document) VALUES ('{}', '{\"meter\": \"requests\", \"bucket\": {\"rate\": \"9/s\"}, \"description\": \"{}\"}');
    INSERT INTO audit_events (id, actor_type, actor_id, action, resource_type, resource_id, outcome, salt)
        VALUES ('ev_{}', 'user', '{}', 'canary.sung', 'canary', '{}', 'ok', '');";

const MODEL: &str = include_str!("../../../src/publish/model.conf");

/// Every row of every table, as text.
const DUMP: &str = "SELECT string_agg(query_to_xml(format('SELECT * FROM %I', relname), true, true, '')::text, '') \
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";

/// Tables that have no place for a text of a tenant's.
const BARE: [&str; 2] = ["schema_migrations", "tenant_meta"];

struct Aviary {
    control: Control,
    names: Vec<String>,
    canaries: Vec<String>,
    keys: Vec<String>,
    /// A place in each tenant's own list, for nobody else.
    cursors: Vec<String>,
    asked: AtomicUsize,
    /// So often somebody saw its own.
    own: AtomicUsize,
    busy: AtomicUsize,
    failed: AtomicUsize,
}

impl Aviary {
    fn new(tenants: usize) -> Aviary {
        // Fewer than there are tenants: connections are closed for one another all the time.
        let backends = size("ISOLATION_BACKENDS", 12).to_string();
        let control = Control::start_with(&[("TOLLGATE_POOLS__BACKENDS_MAX", &backends)]);
        let names: Vec<String> = (0..tenants).map(|at| format!("tenant-{at:03}")).collect();
        let canaries: Vec<String> =
            (0..tenants).map(|at| format!("canary-{at:03}-{:08x}", fastrand::u32(..))).collect();
        let mut aviary = Aviary {
            control,
            names,
            canaries,
            keys: Vec::new(),
            cursors: Vec::new(),
            asked: AtomicUsize::new(0),
            own: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
        };
        for at in 0..tenants {
            aviary.settle(at);
        }
        aviary
    }

    /// Makes a tenant and puts its canary everywhere.
    fn settle(&mut self, at: usize) {
        let (control, name, canary) = (&self.control, &self.names[at], &self.canaries[at]);
        let new = json!({"id": name, "display_name": name.to_uppercase()});
        let made = self.ask_until(&control.admin, "POST", "/v1/tenants", "", &new);
        let operation = made.json()["operation"]["id"].as_str().unwrap().to_owned();
        let ended = format!("/v1/operations/{operation}?wait_ms=20000");
        assert_eq!(control.ask(&control.admin, "GET", &ended, None).json()["state"], "succeeded");
        let keys = format!("/v1/tenants/{name}/api-keys");
        let new = json!({"name": "admin", "roles": ["tenant-admin"]});
        let made = self.ask_until(&control.admin, "POST", &keys, "", &new);
        let key = made.json()["secret"].as_str().unwrap().to_owned();
        let named = format!("idempotency-key: {canary}\r\n");
        self.ask_until(&key, "POST", &keys, &named, &json!({"name": canary, "roles": ["member"]}));
        let setting = format!("/v1/tenants/{name}/settings/sign_on.required_acr");
        self.ask_until(&key, "PUT", &setting, "if-match: \"0\"\r\n", &json!({"value": canary}));
        let (database, _) = control.placement(name);
        cluster().psql(&database, &ROWS.replace("{}", canary)).unwrap();
        let first = format!("/v1/tenants/{name}/audit-events?limit=1");
        let cursor = (0..20).find_map(|_| {
            let page = control.ask(&key, "GET", &first, None).json();
            page["next_cursor"].as_str().map(str::to_owned)
        });
        self.cursors.push(cursor.unwrap());
        self.keys.push(key);
    }

    /// One that must be done, however often a planted panic strikes.
    fn ask_until(
        &self,
        key: &str,
        method: &str,
        path: &str,
        headers: &str,
        body: &serde_json::Value,
    ) -> Answer {
        for _ in 0..20 {
            let answer = self.control.ask_with(key, method, path, headers, Some(body.clone()));
            if answer.status < 300 {
                return answer;
            }
            assert!(answer.status >= 500, "{path}: {}", answer.text);
        }
        panic!("{method} {path} never succeeds");
    }

    /// Nobody sees another's canary.
    fn look(&self, who: usize, path: &str, answer: &Answer) {
        let own = &self.canaries[who];
        let whole = format!("{}{}", answer.head, answer.text);
        let mut has_seen = false;
        for (at, _) in whole.match_indices("canary-") {
            let is_own = whole[at..].starts_with(own.as_str());
            assert!(is_own, "{} saw {} at {path}", self.names[who], &whole[at..at + own.len()]);
            has_seen = true;
        }
        self.own.fetch_add(usize::from(has_seen), Ordering::Relaxed);
        self.busy.fetch_add(usize::from(answer.status == 503), Ordering::Relaxed);
        self.failed.fetch_add(usize::from(answer.status == 500), Ordering::Relaxed);
        if answer.status == 500 {
            let is_planted = std::env::var("TOLLGATE_PLANTED").is_ok_and(|bug| bug == "panic");
            let is_expected = is_planted && answer.code() == "internal";
            assert!(is_expected, "{path}: {}\n{}", answer.text, self.control.causes());
            assert!(!answer.text.contains("planted"), "{}", answer.text);
        }
    }

    fn any_request(&self, random: &mut Rng) {
        let (who, whom) = (random.usize(..self.names.len()), random.usize(..self.names.len()));
        match random.u8(..16) {
            0 | 1 => self.read_on(who, whom),
            2 | 3 => self.write(who, random),
            4 => {
                // Somebody hangs up in the middle.
                let path = format!("/v1/tenants/{}/audit-events", self.names[who]);
                self.control.hang_up(&self.keys[who], &path);
            }
            _ => self.read(who, whom, random),
        }
    }

    fn read(&self, who: usize, whom: usize, random: &mut Rng) {
        let target = if random.u8(..4) == 0 { &self.names[whom] } else { &self.names[who] };
        let tails = [
            "",
            "/api-keys",
            "/api-keys?search=canary&sort=name&count=true",
            "/settings",
            "/settings/sign_on.required_acr",
            "/audit-events?sort=-at",
            "/audit-events?action=canary.sung",
            "/policies",
            "/policies/main",
            "/policies/main/draft",
            "/policies/main/versions?count=true",
            "/limits?search=canary",
        ];
        let path = match random.u8(..8) {
            0 => ["/v1/tenants", "/v1/operations", "/v1/me"][random.usize(..3)].to_owned(),
            _ => format!("/v1/tenants/{target}{}", tails[random.usize(..tails.len())]),
        };
        let header = match random.u8(..16) {
            0 => format!("x-tenant-id: {}\r\n", self.names[whom]),
            _ => String::new(),
        };
        let answer = self.control.ask_with(&self.keys[who], "GET", &path, &header, None);
        self.look(who, &path, &answer);
    }

    /// A cursor of somebody's list, by somebody.
    fn read_on(&self, who: usize, whom: usize) {
        let (name, cursor) = (&self.names[who], &self.cursors[whom]);
        let path = format!("/v1/tenants/{name}/audit-events?limit=1&cursor={cursor}");
        let answer = self.control.ask(&self.keys[who], "GET", &path, None);
        let is_right = match who == whom {
            true => answer.status == 200,
            false => answer.code() == "invalid-cursor",
        };
        assert!(is_right || answer.status >= 500, "a cursor of {whom} for {who}: {}", answer.text);
        self.look(who, &path, &answer);
    }

    /// A change in the tenant's database, in the platform's, or one that is taken back.
    fn write(&self, who: usize, random: &mut Rng) {
        let (name, key, canary) = (&self.names[who], &self.keys[who], &self.canaries[who]);
        let (method, path, headers, body) = match random.u8(..7) {
            0 => {
                let path = format!("/v1/tenants/{name}/settings/sign_on.required_acr");
                let body = json!({"value": format!("{canary}-{}", random.u32(..))});
                ("PUT", path, "if-match: *\r\n".to_owned(), body)
            }
            1 => {
                let path = format!("/v1/tenants/{name}");
                let body = json!({"labels": {"number": random.u8(..).to_string()}});
                ("PATCH", path, "if-match: *\r\n".to_owned(), body)
            }
            3 => {
                let path = format!("/v1/tenants/{name}/policies/main/draft");
                let rows = format!("p, {canary}, /x, read, allow\n");
                let body = json!({"files": {"model.conf": MODEL, "policy.csv": rows}});
                ("PUT", path, "if-match: *\r\n".to_owned(), body)
            }
            4 => {
                let path = format!("/v1/tenants/{name}/policies/main/publish");
                ("POST", path, String::new(), json!({}))
            }
            5 => {
                let path = format!("/v1/tenants/{name}/limits/one");
                let bucket = json!({"rate": format!("{}/s", random.u16(1..))});
                let body = json!({"meter": "requests", "bucket": bucket, "description": canary});
                ("PUT", path, "if-match: *\r\n".to_owned(), body)
            }
            2 => {
                // The same key of idempotency in every tenant: each has its own answer.
                let path = format!("/v1/tenants/{name}/api-keys");
                let headers = format!("idempotency-key: shared-{}\r\n", random.u8(..4));
                (("POST"), path, headers, json!({"name": canary, "roles": ["member"]}))
            }
            _ => {
                let path = format!("/v1/tenants/{name}/api-keys?dry_run=true");
                ("POST", path, String::new(), json!({"name": canary, "roles": ["member"]}))
            }
        };
        let answer = self.control.ask_with(key, method, &path, &headers, Some(body));
        // Another of its calls came between, or there is no draft yet.
        let passing = ["idempotency-in-progress", "version-mismatch", "not-found"];
        let is_right = answer.status < 300 || passing.contains(&answer.code().as_str());
        assert!(is_right || answer.status >= 500, "{method} {path}: {}", answer.text);
        self.look(who, &path, &answer);
    }

    /// What is kept is kept with its owner: no table of one holds a canary of another, the platform's hold none.
    fn look_at_what_is_kept(&self) {
        for (at, name) in self.names.iter().enumerate() {
            let (database, _) = self.control.placement(name);
            let kept = cluster().psql(&database, DUMP).unwrap();
            for (other, canary) in self.canaries.iter().enumerate() {
                assert_eq!(kept.contains(canary), at == other, "{name} and {canary}");
            }
            if at == 0 {
                self.look_into_every_table(&database);
            }
        }
        let (platform, log) = (self.control.psql(DUMP).unwrap(), self.control.log());
        let metrics = exchange(self.control.ops, "GET", "/metrics", "", "").text;
        for canary in &self.canaries {
            for (place, text) in [("platform", &platform), ("log", &log), ("metrics", &metrics)] {
                assert!(!text.contains(canary), "{canary} stands in the {place}");
            }
        }
        let shown = ["_connect_seconds_sum", "_connect_seconds_count", "_wait_seconds_sum"];
        let lines = metrics.lines().filter(|line| shown.iter().any(|name| line.contains(name)));
        lines.for_each(|line| eprintln!("{line}"));
        assert!(platform.contains("tenant-000") && metrics.contains("_count"));
    }

    fn look_into_every_table(&self, database: &str) {
        let tables = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
        let tables = cluster().psql(database, tables).unwrap();
        assert!(tables.lines().count() > 12, "{tables}");
        for table in tables.lines().filter(|table| !BARE.contains(table)) {
            let rows = format!(
                "SELECT count(*) FROM {table} t WHERE t::text LIKE '%{}%'",
                self.canaries[0]
            );
            let count = cluster().psql(database, &rows).unwrap();
            assert_ne!(count, "0", "no canary in {table}");
        }
    }
}

#[test]
fn nobody_sees_anothers_canary() {
    let (tenants, requests) = (size("ISOLATION_TENANTS", 20), size("ISOLATION_REQUESTS", 10_000));
    let aviary = Aviary::new(tenants);
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let aviary = &aviary;
            scope.spawn(move || {
                let mut random = Rng::with_seed(seed);
                while aviary.asked.fetch_add(1, Ordering::Relaxed) < requests {
                    aviary.any_request(&mut random);
                }
            });
        }
    });
    aviary.look_at_what_is_kept();
    // The test sees what it looks for, and the service was not merely busy.
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    assert!(count(&aviary.own) > requests / 4, "{}", count(&aviary.own));
    assert!(count(&aviary.busy) * 50 < requests, "{} busy", count(&aviary.busy));
    let is_planted = std::env::var("TOLLGATE_PLANTED").is_ok_and(|bug| bug == "panic");
    assert_eq!(count(&aviary.failed) > 0, is_planted, "{} failed", count(&aviary.failed));
}
