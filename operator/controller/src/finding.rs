//! What is wrong with a policy, and where.

use ringway_api::conditions::Reason;

/// Something that keeps a policy from being carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// For machines.
    pub reason: Reason,
    /// The node on which it is so; `None` if it is so wherever the policy applies.
    pub node: Option<String>,
    /// For people: object, field, value, and what is allowed. Without the node, so that the same
    /// finding on many nodes is told once.
    pub message: String,
}

/// The most nodes that a message names.
const NAMED: usize = 3;
/// The longest message of a condition in bytes. The API server takes 32 KiB; a person does not.
const LONGEST: usize = 1024;

/// One text for many findings: equal ones are told once, with the first nodes by name.
pub fn tell<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> String {
    let mut told: Vec<(&str, Vec<&str>)> = Vec::new();
    for finding in findings {
        let known = told.iter().position(|(message, _)| *message == finding.message);
        let index = known.unwrap_or_else(|| {
            told.push((&finding.message, Vec::new()));
            told.len() - 1
        });
        told[index].1.extend(finding.node.as_deref());
    }
    let texts: Vec<String> = told
        .into_iter()
        .map(|(message, nodes)| match names(&nodes) {
            Some(nodes) => format!("{nodes}: {message}"),
            None => message.to_owned(),
        })
        .collect();
    bounded(&texts.join("; "))
}

/// `node a`, or `nodes a, b, c and 4 more`; nothing for none.
pub fn names(nodes: &[&str]) -> Option<String> {
    let named = nodes[..nodes.len().min(NAMED)].join(", ");
    match nodes.len() {
        0 => None,
        1 => Some(format!("node {named}")),
        many if many <= NAMED => Some(format!("nodes {named}")),
        many => Some(format!("nodes {named} and {} more", many - NAMED)),
    }
}

/// `1 node`, `2 nodes`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The text, cut at a character where it is too long for a condition.
pub fn bounded(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let mark = "...";
    let mut end = LONGEST - mark.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(node: Option<&str>, message: &str) -> Finding {
        let (node, message) = (node.map(str::to_owned), message.to_owned());
        Finding { reason: Reason::Conflict, node, message }
    }

    #[test]
    fn equal_findings_are_told_once_with_their_nodes() {
        let check = |findings: &[(Option<&str>, &str)], expected: &str| {
            let findings: Vec<_> = findings.iter().map(|(n, m)| finding(*n, m)).collect();
            assert_eq!(tell(&findings), expected);
        };
        check(&[], "");
        check(&[(None, "x")], "x");
        check(&[(Some("a"), "x")], "node a: x");
        check(&[(Some("a"), "x"), (Some("b"), "x"), (Some("a"), "y")], "nodes a, b: x; node a: y");
        check(&["a", "b", "c", "d", "e"].map(|n| (Some(n), "x")), "nodes a, b, c and 2 more: x");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let cut = bounded(&"ü".repeat(LONGEST));
        assert!(cut.len() <= LONGEST && cut.ends_with("ü..."), "{cut}");
        assert_eq!(bounded("short"), "short");
    }
}
