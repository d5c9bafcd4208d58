"""The real scanner over every locked set, asked of the advisories in security/advisories.json."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import urllib3
from packaging.version import Version

from security import __main__ as command
from security import snapshot
from security.audit import Accepted, Finding, load_exceptions, problems, scan
from security.locks import SETS, Pin, pins

TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    return snapshot.load()


@pytest.fixture(scope="module")
def osv(known: dict[str, Any]) -> Iterator[str]:
    with snapshot.served(known) as url:
        yield url


def finding(package: str = "jinja2", *ids: str) -> Finding:
    return Finding(package, "1.0", frozenset(ids or {"GHSA-1", "CVE-1"}), ("2.0",), "It is bad")


def accepted(package: str = "jinja2", advisory: str = "CVE-1", days: int = 1) -> Accepted:
    return Accepted(package, advisory, "not called", TODAY, TODAY + timedelta(days))


def test_every_known_vulnerability_of_what_is_locked_is_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a finding needs is printed. An exception's date can fail this: that is its purpose."""
    status = command.main(["--snapshot"])
    printed = capsys.readouterr()
    assert (status, printed.err) == (0, "")
    assert "accepted until" in printed.out


def test_a_vulnerable_pin_is_found(osv: str) -> None:
    """Beside a safe version of the same package, which another set may have."""
    planted = [Pin("urllib3", "1.26.4", ()), Pin("urllib3", "2.8.0", ()), Pin("flask", "3.1.3", ())]
    found = scan(planted, osv)
    assert {(entry.package, entry.version) for entry in found} == {("urllib3", "1.26.4")}
    (authority,) = (entry for entry in found if "CVE-2021-33503" in entry.ids)
    assert authority.fixed == ("1.26.5",)
    (line, *_) = problems({authority}, load_exceptions(), TODAY)[:1]
    assert "urllib3 1.26.4: CVE-2021-33503 GHSA-q2q7-5pp4-w6pg, fixed in 1.26.5" in line


def test_each_thing_that_is_wrong_is_said() -> None:
    assert problems([finding()], [accepted()], TODAY) == []
    (unexplained,) = problems([finding()], [], TODAY)
    assert "Raise the pin, or explain it" in unexplained
    (stale,) = problems([], [accepted()], TODAY)
    assert "nothing is found for CVE-1. Remove the exception" in stale
    (expired,) = problems([finding()], [accepted(days=-1)], TODAY)
    assert "had to be reviewed by" in expired
    # The same advisory about another package is another finding.
    assert len(problems([finding("flask")], [accepted()], TODAY)) == 2


def test_every_exception_has_a_reason_and_at_most_a_year() -> None:
    for exception in load_exceptions():
        assert len(exception.reason) > 40, exception
        half_a_year, year = timedelta(days=180), timedelta(days=366)
        assert half_a_year < exception.review_by - exception.since < year, exception
        assert exception.since <= TODAY, exception


def test_a_new_package_needs_new_advisories(known: dict[str, Any]) -> None:
    assert command.missing(known) == []
    packages = {name: day for name, day in known["packages"].items() if name != "flask"}
    assert command.missing({**known, "packages": packages}) == ["flask"]


def test_of_all_that_the_image_holds_advisories_were_searched(known: dict[str, Any]) -> None:
    """README.md of the snapshot says what was not; CUDA is in the image for GPUs alone."""
    shipped = {
        pin.name
        for path in SETS
        for pin in pins(path)
        if path.parent.name == "container" and path.stem != "requirements-cuda"
    }
    assert sorted(name for name in shipped if known["packages"][name] is None) == []


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ([{"introduced": "0"}, {"fixed": "1.2"}], "1.2rc1", "1.2"),
        ([{"introduced": "0"}, {"last_affected": "1.2"}], "1.2", "1.2.post1"),
        ([{"introduced": "1.0"}], "99", "0.9"),
        ([{"fixed": "2.5"}, {"introduced": "2.0"}], "2.4", "1.9"),
        (
            [{"introduced": "1"}, {"fixed": "1.5"}, {"introduced": "2"}, {"fixed": "2.5"}],
            "2.1",
            "1.7",
        ),
    ],
)
def test_ranges_are_read_as_osv_reads_them(
    entry: list[dict[str, str]], inside: str, outside: str
) -> None:
    item = {"ranges": [{"type": "ECOSYSTEM", "events": entry}]}
    assert snapshot.affects(item, Version(inside))
    assert not snapshot.affects(item, Version(outside))
    git = {"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}], "versions": ["1.0"]}
    assert snapshot.affects(git, Version("1.0"))
    assert not snapshot.affects(git, Version("1.1"))


def test_a_refresh_keeps_every_advisory_of_every_package(
    known: dict[str, Any], osv: str, tmp_path: Path
) -> None:
    path = tmp_path / "advisories.json"
    assert command.refresh(osv, date(2027, 1, 2), path) == 0
    fresh = snapshot.load(path)
    assert fresh["advisories"] == known["advisories"]
    assert set(fresh["packages"].values()) == {"2027-01-02"}
    assert command.missing(fresh) == []


def test_osv_answers_by_pages() -> None:
    asked: list[dict[str, Any]] = []

    def request(method: str, url: str, json: dict[str, Any]) -> SimpleNamespace:
        asked.append(dict(json))
        last = "page_token" in json
        page = {"vulns": [{"id": len(asked)}], **({} if last else {"next_page_token": "t"})}
        return SimpleNamespace(status=200, json=lambda: page)

    http = cast(urllib3.PoolManager, SimpleNamespace(request=request))
    assert list(command.asked(http, "u", "flask")) == [{"id": 1}, {"id": 2}]
    assert [query.get("page_token") for query in asked] == [None, "t"]


@pytest.mark.parametrize("mode", [[], ["--refresh"]])
def test_without_a_way_to_osv_it_says_what_to_do(
    mode: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "SETS", SETS[:1])
    assert command.main([*mode, "--osv-url", "http://127.0.0.1:1/v1/query"]) == 2
    words = capsys.readouterr().err
    assert "error: " in words
    assert "python -m security --snapshot" in words
