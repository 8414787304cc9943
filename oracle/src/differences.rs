//! Where Casbin's answer and ours in its dialect are known to part: `casbin-rs` here, `casbin-go` in `go`.
//!
//! Each row is a fact with its proof: a model, a policy, a request, and both answers. The test
//! demands that both still hold; the page docs/reference/casbin-differences.md lists them.

mod go;

use crate::casbin_rs::Answer;
pub use go::KNOWN_GO;

/// What our engine does where casbin does something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ours {
    /// The policy does not load.
    Refused,
    /// `policy-error`, which denies.
    Error,
    Deny,
}

/// One known difference.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    pub id: &'static str,
    pub what: &'static str,
    pub matcher: &'static str,
    pub policy: &'static str,
    /// JSON arguments.
    pub request: &'static [&'static str],
    pub casbin: Casbin,
    pub ours: Ours,
}

/// casbin's side of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Casbin {
    Allow,
    Deny,
    Fails,
}

impl Casbin {
    /// Whether this is what casbin answered.
    pub fn is(self, answer: &Answer) -> bool {
        match self {
            Casbin::Allow => *answer == Answer::Allow,
            Casbin::Deny => *answer == Answer::Deny,
            Casbin::Fails => matches!(answer, Answer::Failed(_)),
        }
    }
}

impl Difference {
    /// The whole model.
    pub fn model(&self) -> String {
        format!("{MODEL_HEAD}{}\n", self.matcher)
    }
}

/// The model of every row but its matcher.
const MODEL_HEAD: &str = "[request_definition]\nr = sub, obj\n[policy_definition]\n\
    p = sub, obj\n[role_definition]\ng = _, _\n[policy_effect]\n\
    e = some(where (p.eft == allow))\n[matchers]\nm = ";

/// Every known difference from the `casbin` crate.
pub const KNOWN: &[Difference] = &[
    Difference {
        id: "bad-pattern",
        what: "a pattern that is no expression panics when a request reaches its row; ours does \
               not load",
        matcher: "regexMatch(r.obj, p.obj)",
        policy: "p, a, (open",
        request: &["\"a\"", "\"x\""],
        casbin: Casbin::Fails,
        ours: Ours::Refused,
    },
    Difference {
        id: "unused-decimal",
        what: "a decimal in an attribute that no rule reads fails the whole call; ours looks only \
               at what rules read",
        matcher: "r.sub.name == p.sub",
        policy: "p, a, x",
        request: &["{\"name\":\"b\",\"weight\":1.5}", "\"x\""],
        casbin: Casbin::Fails,
        ours: Ours::Deny,
    },
    Difference {
        id: "nested-missing",
        what: "a missing attribute two levels down is nothing if its parent exists; ours cannot \
               tell and is `policy-error`",
        matcher: "r.sub.team.name == p.sub",
        policy: "p, a, x",
        request: &["{\"team\":{}}", "\"x\""],
        casbin: Casbin::Deny,
        ours: Ours::Error,
    },
    Difference {
        id: "text-addition",
        what: "`+` joins strings; ours is `policy-error`",
        matcher: "r.sub + \"s\" == p.sub",
        policy: "p, bosses, x",
        request: &["\"bosse\"", "\"x\""],
        casbin: Casbin::Allow,
        ours: Ours::Error,
    },
    Difference {
        id: "number-as-text",
        what: "a matching function turns a number into text first; ours is `policy-error`",
        matcher: "keyMatch(r.obj, p.obj)",
        policy: "p, a, 7",
        request: &["\"a\"", "7"],
        casbin: Casbin::Allow,
        ours: Ours::Error,
    },
    Difference {
        id: "ip-panic",
        what: "an address that cannot be read panics; ours is `policy-error`",
        matcher: "ipMatch(r.obj, p.obj)",
        policy: "p, a, 10.0.0.0/8",
        request: &["\"a\"", "\"nowhere\""],
        casbin: Casbin::Fails,
        ours: Ours::Error,
    },
    Difference {
        id: "cut-character",
        what: "keyMatch panics where the star cuts a character of the request; ours is \
               `policy-error`",
        matcher: "keyMatch(r.obj, p.obj)",
        policy: "p, a, x*",
        request: &["\"a\"", "\"é\""],
        casbin: Casbin::Fails,
        ours: Ours::Error,
    },
    Difference {
        id: "eval-language",
        what: "`eval` runs whatever casbin's script language knows; ours knows the matcher's \
               language, and the rest is `policy-error`",
        matcher: "eval(p.sub) && r.obj == p.obj",
        policy: "p, if true { true } else { false }, x",
        request: &["\"alice\"", "\"x\""],
        casbin: Casbin::Allow,
        ours: Ours::Error,
    },
    Difference {
        id: "unknown-effect",
        what: "an unknown effect rule panics at the first request; ours does not load",
        matcher: "r.sub == p.sub\n[policy_effect]\ne = maybe",
        policy: "p, a, x",
        request: &["\"a\"", "\"x\""],
        casbin: Casbin::Fails,
        ours: Ours::Refused,
    },
];
