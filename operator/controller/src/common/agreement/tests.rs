use super::*;

fn names(text: &str) -> Names {
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// `able` and `given` as lists; `?` is not told, or nothing given.
fn voice((able, given): &(&str, &str)) -> Voice {
    let set = |text: &str| (text != "?").then(|| names(text));
    Voice { able: set(able), given: set(given), will_tell: true }
}

fn agreed(voices: &[(&str, &str)], given_up: &str) -> Agreement {
    let voices: Vec<Voice> = voices.iter().map(voice).collect();
    agree(&voices.iter().collect::<Vec<_>>(), &names(given_up))
}

#[test]
fn it_is_what_all_can_and_then_what_it_was() {
    let on = |text: &str| Agreement::On(names(text));
    for (voices, given_up, expected) in [
        // nothing was given yet
        (&[("A,B,C", "?"), ("B,C,D", "?")][..], "", on("B,C")),
        (&[("A,B", "?")], "", on("A,B")),
        (&[("A,B,C", "?"), ("B,C", "?")], "C", on("B")),
        (&[("A,B", "?"), ("?", "?")], "", Agreement::Awaited),
        (&[("?", "?")], "", Agreement::Awaited),
        (&[], "", Agreement::Awaited),
        (&[("A", "?"), ("B", "?")], "", Agreement::Nothing),
        (&[("A", "?")], "A", Agreement::Nothing),
        // who has more, less, or says nothing, has no effect any more
        (&[("A,B", "A,B"), ("A,B,C", "?")], "", on("A,B")),
        (&[("A,B", "A,B"), ("A", "?")], "", on("A,B")),
        (&[("A,B", "A,B"), ("?", "?")], "", on("A,B")),
        (&[("A", "A,B")], "", on("A,B")),
        // but people have, also where not every node has been written to yet
        (&[("A,B", "A,B"), ("A", "?")], "B", on("A")),
        (&[("A,B", "A"), ("A,B", "A,B")], "", on("A")),
    ] {
        assert_eq!(agreed(voices, given_up), expected, "{voices:?} without {given_up:?}");
        let mut other_way: Vec<_> = voices.to_vec();
        other_way.reverse();
        assert_eq!(agreed(&other_way, given_up), expected, "{other_way:?}");
    }
}

#[test]
fn who_cannot_tell_is_not_waited_for() {
    let told = voice(&("A", "?"));
    let kept = Voice { will_tell: false, ..Voice::default() };
    assert_eq!(agree(&[&told, &kept], &Names::new()), Agreement::On(names("A")));
    assert_eq!(agree(&[&kept], &Names::new()), Agreement::Awaited);
}

#[test]
fn it_is_for_who_can_and_for_who_had_it() {
    for (one, gets, missing) in [
        (("A,B,C", "?"), true, ""),
        (("A", "?"), false, "B"),
        (("?", "?"), false, ""),
        (("?", "A,B"), true, ""),
        (("A", "A,B"), true, "B"),
    ] {
        let (one, set) = (voice(&one), names("A,B"));
        assert_eq!((one.gets(&set), one.missing(&set)), (gets, names(missing)), "{one:?}");
    }
}
