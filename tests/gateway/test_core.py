"""The index, access rights, and objects read from any good replica."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from irods.access import iRODSAccess
from pydicom import dcmread

from pacsgrid import grid
from pacsgrid.errors import ZoneError, ZoneUnavailableError
from pacsgrid.gateway import Gateway, QueryLevel, object_reader
from pacsgrid.gateway.read_access import ReadAccess
from pacsgrid.grid.sharing import share
from support.dicom import ct
from support.seeded import seeded_bytes
from support.served_zones import PROJECT, Deposited, ServedZones

EVA, JAN, JANA, NOBODY = "eva#brno", "jan#brno", "jana#praha", "nobody#brno"
PATIENT_ID, STUDY_UID, SOP_UID = "00100020", "0020000D", "00080018"


def slices(folder: Path, study: str, number: int, patient: str = "P1") -> list[Path]:
    return [
        ct(folder / f"{study}.{n}.dcm", study, f"{study}.1.{n}", f"Sub^{patient}", n, patient)
        for n in range(number)
    ]


def counts(gateway: Gateway, user: str) -> dict[str, tuple[int, int]]:
    """Return the number of series and instances of each study that a user finds."""
    return {
        one.study: (
            one.attributes["00201206"]["Value"][0],
            one.attributes["00201208"]["Value"][0],
        )
        for one in gateway.find(user, QueryLevel.STUDY, {})
    }


def series_of(served: ServedZones, one: Deposited, zone: str = "brno") -> str:
    return f"{served.collection(one, zone)}/{one.rows[0].series_uid}"


def test_a_new_index_is_filled_before_anything_is_answered(served: ServedZones) -> None:
    served.add(slices(served.dir / "in", "1.2.1", 2))
    share(served.home, PROJECT, [EVA])
    with Gateway(served.site(zone_seconds=1)) as gateway:
        with gateway.index.lock():
            gateway.start_refreshing()
            with pytest.raises(ZoneUnavailableError, match="being built"):
                counts(gateway, EVA)
        assert counts(gateway, EVA) == {"1.2.1": (1, 2)}
    # An index that was complete once answers at once.
    with Gateway(served.site(zone_seconds=1)) as gateway, gateway.index.lock():
        gateway.start_refreshing()
        assert counts(gateway, EVA) == {"1.2.1": (1, 2)}


def test_a_researcher_finds_what_they_may_read_and_no_more(served: ServedZones) -> None:
    first, second = (
        served.add(slices(served.dir / "in", study, 4, patient))[0]
        for study, patient in (("1.2.1", "P1"), ("1.2.2", "P2"))
    )
    share(served.home, PROJECT, [EVA, JANA])
    served.grant(JAN, series_of(served, second))
    with Gateway(served.site()) as gateway:
        assert gateway.refresh() == 2 and gateway.refresh() == 0
        assert counts(gateway, EVA) == {"1.2.1": (1, 4), "1.2.2": (1, 4)}
        assert counts(gateway, JANA) == counts(gateway, EVA)
        assert counts(gateway, JAN) == {"1.2.2": (1, 4)}
        assert counts(gateway, NOBODY) == counts(gateway, "ghost#brno") == {}
        # A right to one object of the other study does not extend to its neighbours.
        one = first.rows[2]
        path = f"{series_of(served, first)}/{one.sop_uid}.dcm"
        served.grant(JAN, path, recursive=False)
        assert counts(gateway, JAN) == {"1.2.1": (1, 1), "1.2.2": (1, 4)}
        assert [i.sop for i in gateway.instances(JAN, "1.2.1")] == [one.sop_uid]
        assert gateway.instances(JAN, "1.2.1", sop=first.rows[0].sop_uid) == []
        served.grant(JAN, path, "null", recursive=False)
        served.home.session.groups.removemember(f"{PROJECT}_readers", "jana", "praha")
        assert counts(gateway, JAN) == {"1.2.2": (1, 4)}
        assert counts(gateway, JANA) == {}


def test_the_index_follows_the_zones(served: ServedZones) -> None:
    (one,) = served.add(slices(served.dir / "in", "1.2.1", 3), zones=["brno", "praha"])
    for zone in served.zones.values():
        share(zone, PROJECT, [EVA])
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        assert {i.zones for i in gateway.instances(EVA, "1.2.1")} == {3}
        # A new slice, which reaches the partner zone later.
        more = slices(served.dir / "more", "1.2.1", 4)[3:]
        ds = dcmread(more[0])
        row = type(one.rows[0])(
            "1.2.1",
            str(ds.SeriesInstanceUID),
            str(ds.SOPInstanceUID),
            one.subject,
            "CT",
            hashlib.sha256(more[0].read_bytes()).hexdigest(),
            more[0].stat().st_size,
        )
        one.rows.append(row)
        one.paths[row.sop_uid] = more[0]
        served.put(one, "brno")
        assert gateway.refresh() == 1
        assert counts(gateway, EVA) == {"1.2.1": (1, 4)}
        assert sorted(i.zones for i in gateway.instances(EVA, "1.2.1")) == [1, 3, 3, 3]
        served.put(one, "praha")
        gateway.refresh()
        assert {i.zones for i in gateway.instances(EVA, "1.2.1")} == {3}
        # A missing manifest does not remove a study from the index; a missing collection does.
        home = served.collection(one, "brno")
        grid.remove_object(served.home, f"{home}/manifest.json")
        gateway.refresh()
        assert counts(gateway, EVA) == {"1.2.1": (1, 4)}
        grid.remove_collection(served.home, home)
        gateway.refresh()
        assert {i.zones for i in gateway.instances(EVA, "1.2.1")} == {2}
        grid.remove_collection(served.partner, served.collection(one, "praha"))
        gateway.refresh()
        assert counts(gateway, EVA) == {}


@pytest.mark.parametrize("name", ["../../../x", "a/b", "..", "Sub^P1"])
def test_what_is_no_uid_is_not_served(served: ServedZones, name: str) -> None:
    one, other = served.add(
        [*slices(served.dir / "in", "1.2.1", 2), *slices(served.dir / "in", "1.2.2", 1, "P2")]
    )
    share(served.home, PROJECT, [EVA])
    place = f"{served.collection(one, 'brno')}/manifest.json"
    manifest = grid.get_document(served.home, place)
    assert manifest is not None
    uid = one.rows[0].sop_uid.encode()
    grid.put_document(served.home, place, manifest.replace(b'"%b"' % uid, b'"%b"' % name.encode()))
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        assert counts(gateway, EVA) == {other.study: (1, 1)}


def test_an_index_is_made_anew_and_of_older_manifests_too(served: ServedZones) -> None:
    (one,) = served.add(slices(served.dir / "in", "1.2.1", 2))
    share(served.home, PROJECT, [EVA])
    site = served.site()
    assert site.gateway
    with Gateway(site) as gateway:
        gateway.refresh()
        before = [a.attributes for a in gateway.find(EVA, QueryLevel.IMAGE, {})]
    grid.remove_object(served.home, f"{served.collection(one, 'brno')}/manifest.json")
    served.put(one, "brno", attributes=False)
    site.gateway.index.write_bytes(b"not a database" * 100)
    with Gateway(site) as gateway:
        assert gateway.refresh() == 1
        assert [a.attributes for a in gateway.find(EVA, QueryLevel.IMAGE, {})] == before
        assert before[0]["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Sub^P1"}]}


def test_objects_come_from_a_good_replica_whatever_fails(served: ServedZones) -> None:
    (one,) = served.add(slices(served.dir / "in", "1.2.1", 2), zones=["brno", "praha"])
    for zone in served.zones.values():
        share(zone, PROJECT, [EVA])
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        a, b = gateway.instances(EVA, "1.2.1")
        wanted = {row.sop_uid: one.paths[row.sop_uid].read_bytes() for row in one.rows}
        files = served.vault_files("brno", a.sop)
        assert len(files) == 2
        files[0].write_bytes(files[0].read_bytes()[:-1] + b"!")
        assert gateway.objects.read(a) == wanted[a.sop]
        files[1].write_bytes(b"short")
        assert gateway.objects.read(a) == wanted[a.sop]
        served.stop("brno")
        assert gateway.objects.read(b) == wanted[b.sop]
        for path in served.vault_files("praha", b.sop):
            path.write_bytes(b"")
        with pytest.raises(ZoneUnavailableError):
            gateway.objects.read(b)
        assert counts(gateway, EVA) == {"1.2.1": (1, 2)}
        served.start("brno")
        assert gateway.objects.read(b) == wanted[b.sop]
        for path in served.vault_files("brno", b.sop):
            path.write_bytes(b"")
        with pytest.raises(ZoneError, match="no replica has its checksum"):
            gateway.objects.read(b)


def test_a_large_object_goes_on_where_a_zone_died(
    served: ServedZones, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_reader, "SMALL", 1000)
    monkeypatch.setattr(object_reader, "CHUNK", 64 << 10)
    path = ct(served.dir / "in.dcm", "1.2.1", "1.2.1.1.1")
    ds = dcmread(path)
    ds.Rows = ds.Columns = 1024
    ds.PixelData = seeded_bytes(2 * 1024 * 1024)
    ds.save_as(path)
    served.add([path], zones=["brno", "praha"])
    for zone in served.zones.values():
        share(zone, PROJECT, [EVA])
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        (one,) = gateway.instances(EVA, "1.2.1")
        wanted = path.read_bytes()
        stream = gateway.objects.stream(one)
        got = b"".join(next(stream) for _ in range(5))
        served.stop("brno")
        assert got + b"".join(stream) == wanted
    served.start("brno")
    with Gateway(served.site()) as gateway:
        assert b"".join(gateway.objects.stream(one, 1_000_000)) == wanted[1_000_000:]
        # Another replica continues a truncated one; a wrong one is reported, and then read last.
        first, second = served.vault_files("brno", one.sop)
        first.write_bytes(wanted[: 1 << 20])
        assert b"".join(gateway.objects.stream(one)) == wanted
        for wrong in (first, second):
            wrong.write_bytes(wanted[: 1 << 20] + b"!" + wanted[(1 << 20) + 1 :])
        for _ in range(2):
            with pytest.raises(ZoneError, match="differ from its checksum"):
                list(gateway.objects.stream(one))
        assert b"".join(gateway.objects.stream(one)) == wanted


def test_rights_are_those_of_each_zone(served: ServedZones) -> None:
    served.add(slices(served.dir / "in", "1.2.1", 2), zones=["brno", "praha"])
    share(served.partner, PROJECT, [JANA])
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        assert {i.zones for i in gateway.instances(JANA, "1.2.1")} == {2}
        served.stop("praha")
        assert counts(gateway, JANA) == {}
        served.stop("brno")
        with pytest.raises(ZoneUnavailableError):
            counts(gateway, JANA)
        assert ReadAccess() == ReadAccess({})


def test_an_own_right_counts_and_one_to_look_does_not(served: ServedZones) -> None:
    (one,) = served.add(slices(served.dir / "in", "1.2.1", 2))
    path = f"{series_of(served, one)}/{one.rows[0].sop_uid}.dcm"
    with Gateway(served.site()) as gateway:
        gateway.refresh()
        for right, seen in (("own", 1), ("read_metadata", 0), ("write", 1), ("null", 0)):
            served.home.session.acls.set(iRODSAccess(right, path, "jan", "brno"))
            assert len(gateway.instances(JAN, "1.2.1")) == seen


def test_an_account_that_is_no_administrator_will_do(served: ServedZones) -> None:
    served.add(slices(served.dir / "in", "1.2.1", 2))
    session = served.home.session
    session.users.create("service", "rodsuser").modify("password", "secret-word")
    for path in ("/brno/home", f"/brno/home/{PROJECT}"):
        session.acls.set(iRODSAccess("read", path, "service", "brno"))
    session.acls.set(
        iRODSAccess("own", f"/brno/home/{PROJECT}/data", "service", "brno"), recursive=True
    )
    share(served.home, PROJECT, [EVA, JANA])
    site = served.site(serve=[{"zone": "brno", "projects": [PROJECT]}])
    account = site.zone("brno").replace(user="service", password="secret-word")
    with Gateway(replace(site, zones={"brno": account})) as gateway:
        assert gateway.refresh() == 1
        for user, seen in ((EVA, {"1.2.1": (1, 2)}), (JANA, {"1.2.1": (1, 2)}), (NOBODY, {})):
            assert counts(gateway, user) == seen
        one = gateway.instances(EVA, "1.2.1")[0]
        assert hashlib.sha256(gateway.objects.read(one)).hexdigest() == one.sha256
