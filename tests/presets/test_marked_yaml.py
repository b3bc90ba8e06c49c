import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagegen.presets.marked_yaml import YamlFault, read_yaml


def test_values_come_with_their_lines():
    marked = read_yaml(b"\xef\xbb\xbfname: A\nlist:\n  - 1\n  - {deep: 2.5}\nflag: yes\n")
    assert marked.value == {"name": "A", "list": [1, {"deep": 2.5}], "flag": True}
    assert marked.line(("list",)) == 2
    assert marked.line(("list", 1, "deep")) == 4
    assert marked.line(("list", 1, "missing", "further")) == 4
    assert marked.line(("nowhere",)) == 1


def test_nothing_is_none():
    assert read_yaml(b"").value is None
    assert read_yaml(b"# only a comment\n").value is None


BOMB = b"a: &a [x]\n" + b"\n".join(b"b%d: [*a, *a]" % i for i in range(9))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (b"a: 1\nb: 2\na: 3\n", 3, "'a' is said twice, first on line 1"),
        (b"a:\n  c: 1\n  c: 2\n", 3, "'c' is said twice"),
        (BOMB, 2, "aliases"),
        (b"a: &x {b: 1}\nc:\n  <<: *x\n", 3, "aliases|tag"),
        (b"c:\n  <<: {b: 1}\n", 2, "tag tag:yaml.org,2002:merge is not read"),
        (b"a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "is not read"),
        (b"a: !!python/name:os.system\n", 1, "is not read"),
        (b"a: !!set {b}\n", 1, "is not read"),
        (b"a: [1\nb: 2\n", 2, "expected"),
        (b"a: 1\n---\nb: 2\n", 2, "another document"),
        (b"a: 1\n1: 2\n", 2, "a key must be a text"),
        (b"[a]: 2\n", 1, "a key must be a text"),
        (b"a: 1\nb: \xff\n", 2, "not UTF-8"),
        (b"a: 1\n\nb: \x07\n", 3, "0x0007 may not appear"),
        (b"a: " + b"9" * 5_000, 1, "cannot be read"),
        (b"a: 2026-13-45\n", 1, "cannot be read"),
        (b'a: "\\uD800"\n', 1, "cannot be read"),
        (b"a: !!bool perhaps\n", 1, "cannot be read"),
        (b"a: !!int ''\n", 1, "cannot be read"),
        (b"a: !!timestamp soon\n", 1, "cannot be read"),
        (b'a: "\\UFFFFFFFF"\n', 1, "not YAML"),
        (b"[" * 60_000, 1, "nested too deep"),
        (b"{a: " * 9_000, 1, "nested too deep"),
        (b"#" * 65_537, 1, "65537 bytes, at most 65536"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_line(text, line, message):
    with pytest.raises(YamlFault, match=message) as caught:
        read_yaml(text)
    assert caught.value.line == line


YAML_LIKE = st.text("abc: -\n[]{}&*!|>'\"#%@`,?<0.9~\t\\xuU/", max_size=60)


@given(text=st.one_of(YAML_LIKE.map(str.encode), st.binary(max_size=60)))
def test_any_bytes_are_read_or_refused(text):
    try:
        read_yaml(text)
    except YamlFault as fault:
        assert fault.line >= 1  # noqa: PT017 - both outcomes are right
