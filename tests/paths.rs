//! The pages name paths of this repository: each of them exists.

use std::collections::BTreeSet;
use std::path::Path;

fn named(page: &str) -> BTreeSet<String> {
    let quoted = page.split('`').skip(1).step_by(2);
    let linked = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let is_path = |text: &&str| {
        let plain = !text.contains(|it: char| it.is_whitespace() || "*<>{}$…".contains(it)) && !text.contains("://");
        let known = [
            "services/",
            "shared/",
            "tests/",
            "bench/",
            "k8s/",
            "deploy/",
            "docs/",
            "clients/",
            ".ci/",
        ];
        plain && (known.iter().any(|folder| text.starts_with(folder)) || text.ends_with(".md"))
    };
    quoted.chain(linked).filter(is_path).map(str::to_owned).collect()
}

#[test]
fn every_path_that_the_pages_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for page in [
        "ARCHITECTURE.md",
        "README.md",
        "docs/operators-guide.md",
        "k8s/README.md",
    ] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let paths = named(&text);
        assert!(
            !paths.is_empty(),
            "{page} names no paths: the test has lost its way of finding them"
        );
        for path in paths {
            assert!(root.join(&path).exists(), "{page} names {path}, which does not exist");
        }
    }
}
