"""The folder of a study: its plan and its finished runs."""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mtq.runs import versions
from mtq.settings import ProtocolOptions
from mtq.settings.declaration import defaults
from mtq.storage.files import as_path, locked, write_json
from mtq.storage.folders import check_folder_place, remove_ours
from mtq.study.running.record import RunRecord, is_of_a_run

ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._,=+-]{,199}")
_SEED = re.compile(r"seed_\d+")


class StudyFolder:
    """A folder with `study.json` and a folder for each finished run, `runs/<arm>/seed_<n>`.

    Args:
        path: The path of the folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = as_path("folder of a study", path)

    @property
    def plan(self) -> dict[str, Any]:
        """The plan of the study, as JSON values.

        Raises:
            FileNotFoundError: The folder holds no study, or runs without a plan.
        """
        if self._plan_path.exists():
            return json.loads(self._plan_path.read_text())
        if self._has_runs():
            raise FileNotFoundError(
                f"A folder with the runs of a study must have its plan. Received: {str(self.path)!r}, which has runs "
                "but no study.json. Copy that file from where the runs were made, or choose another folder."
            )
        raise FileNotFoundError(
            f"The folder of a study must hold a study. Received: {str(self.path)!r}, which has no study.json. "
            "Give the folder that `mtq study --out` or Study.run wrote."
        )

    @property
    def _plan_path(self) -> Path:
        return self.path / "study.json"

    def _make(self) -> None:
        check_folder_place(self.path, "folder of a study")
        self.path.mkdir(parents=True, exist_ok=True)

    def _has_runs(self) -> bool:
        return any(self.path.glob("runs/*/seed_*/scores.json"))

    def begin(self, plan: dict[str, Any], command: list[str], is_alone: bool = True) -> None:
        """Writes the plan of the study, or adds the new arms and seeds to the plan in the folder.

        Args:
            plan: The plan, as JSON values, with the arms by name under `"arms"`.
            command: The command that runs the study, for the record.
            is_alone: False while other shards are being made; they must have been given the same arms and seeds.

        Raises:
            ValueError: The folder holds runs of another plan.
            FileNotFoundError: The folder holds runs without a plan.
        """
        check_folder_place(self.path, "folder of a study")
        self._check_ours()
        plan = json.loads(json.dumps(plan))
        plan["asked"] = {"arms": list(plan["arms"]), "seeds": plan["seeds"]}
        if not is_alone or self._has_runs():
            before = {"replicas": 1, **self.plan}  # older plans have no entry "replicas", nor settings added later
            before["protocol"] = {**json.loads(json.dumps(defaults(ProtocolOptions))), **before.get("protocol", {})}
            for key in plan.keys() - {"arms", "seeds", "asked", "comparisons"}:
                self._check_same(key, before.get(key), plan[key])
            for name in plan["arms"].keys() & before["arms"].keys():
                self._check_same_arm(name, before["arms"][name], plan["arms"][name])
            if not is_alone:
                for key, asked in plan["asked"].items():
                    self._check_same(key, before["asked"][key], asked)
            plan["arms"] = {**before["arms"], **plan["arms"]}
            plan["seeds"] = sorted({*before["seeds"], *plan["seeds"]})
            pairs = before.get("comparisons", [])
            plan["comparisons"] = [*pairs, *(pair for pair in plan["comparisons"] if pair not in pairs)]
        elif self._plan_path.exists() and any(
            self.plan.get(key) != plan[key] for key in plan.keys() - {"seeds", "asked", "comparisons"}
        ):
            (self.path / "random.json").unlink(missing_ok=True)  # the plan is replaced, which has no runs
        self._make()
        write_json(self._plan_path, {**plan, "command": command, "versions": versions()})

    def _check_ours(self) -> None:
        """Raises a FileExistsError if files in the folder have a study's names, but no study wrote them."""
        if self._plan_path.exists():
            try:
                self.check_names(self.plan)
            except ValueError as error:
                raise FileExistsError(
                    f"The folder of a study must be new, or hold a study. Received: {str(self.path)!r}, whose "
                    "study.json is not a study's plan. Choose another folder."
                ) from error
        if (self.path / "random.json").exists() and not self._plan_path.exists() and not self._has_runs():
            raise FileExistsError(
                f"The folder of a study must be new, or hold a study. Received: {str(self.path)!r}, which has a "
                "random.json but no study.json. Choose another folder."
            )

    def protocol_before(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns some settings of the protocol by which runs in the folder were made; none if there are no runs.

        Args:
            names: The names of the settings.
        """
        if not self._plan_path.exists() or not self._has_runs():
            return {}
        self._check_ours()
        protocol = self.plan.get("protocol", {})
        return {name: protocol[name] for name in names if name in protocol}

    def check_names(self, plan: Any) -> None:
        """Raises a ValueError unless this is a study's plan whose arms' names are folders inside the study's folder.

        Args:
            plan: The content of `study.json`.
        """
        is_plan = isinstance(plan, dict) and plan.keys() >= {"tasks", "arms", "seeds"}
        names = list(plan["arms"]) if is_plan and isinstance(plan["arms"], dict) else [""]
        outside = [name for name in names if not ARM_NAME.fullmatch(name)]
        if outside:
            raise ValueError(
                "study.json must be the plan of a study whose arms have names that are valid for folders. Received: "
                f"in {str(self.path)!r} {f'an arm {outside[0]!r}' if is_plan else 'something else'}. Give the folder "
                "that `mtq study --out` or Study.run wrote."
            )

    @property
    def is_new(self) -> bool:
        """Whether the folder has no plan of a study yet."""
        return not self._plan_path.exists()

    def _check_same_arm(self, name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Raises a ValueError if the runs of an arm are made in another way than those in the folder."""
        if "resolved" not in before:  # a plan of an earlier version
            following = {key: value for key, value in after["resolved"].items() if key not in after and value}
            if following:
                raise ValueError(
                    f"Arm '{name}' of a study that an earlier version of mtq began must not have settings that follow "
                    f"from others, because the earlier version may have chosen other values. Received: "
                    f"{_short(following)}. Choose another folder, or delete {str(self.path)!r}."
                )
            before = {**before, "resolved": after["resolved"]}
        self._check_same(f"arm '{name}'", before, after)

    def _check_same(self, entry: str, before: Any, after: Any) -> None:
        if _without_modules(before) == _without_modules(after):
            return
        if isinstance(before, dict) and isinstance(after, dict):
            changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
            before, after = ({key: plan.get(key) for key in changed} for plan in (before, after))
        raise ValueError(
            f"A study must keep the same {entry} when runs are added to it. Received: {_short(after)}, where the study "
            f"in {str(self.path)!r} has {_short(before)}. Choose another folder, or delete that one."
        )

    @contextlib.contextmanager
    def held(self, shard: tuple[int, int] = (0, 1)) -> Iterator[None]:
        """Locks the folder for this process; the lock is released however the process ends.

        Args:
            shard: The index of the shard that this process makes, and the number of shards. Other processes may make
                the other shards at the same time.

        Raises:
            ValueError: Another process holds the folder.
        """
        self._make()
        with contextlib.ExitStack() as until_the_end:
            is_part = shard[1] > 1
            locks = [(self.path / ".lock", is_part)]
            if is_part:
                locks.append((self.path / f".lock_{shard[0]}_of_{shard[1]}", False))
            if not all(until_the_end.enter_context(locked(path, shared=shared)) for path, shared in locks):
                raise ValueError(
                    f"The folder of a study must not be in use. Received: {str(self.path)!r}, in which another process "
                    f"is running {'this shard or the whole study' if is_part else 'the study'}. Wait for it to end, or "
                    "choose another folder."
                )
            yield

    @contextlib.contextmanager
    def planning(self) -> Iterator[None]:
        """Locks the plan of the study, to be read and written while other processes wait."""
        self._make()
        with locked(self.path / ".lock_plan", waits=True):
            yield

    def is_free(self) -> bool:
        """Whether no process holds the study or a shard of it. Call it within `planning`."""
        with locked(self.path / ".lock") as is_held:
            return is_held

    @contextlib.contextmanager
    def claimed(self, arm: str, seed: int) -> Iterator[bool]:
        """Claims a run for this process, unless it is finished or another process is making it.

        Args:
            arm: The name of the run's arm.
            seed: The seed of the run.

        Yields:
            True if the run is to be made here.
        """
        place = self.place(arm, seed)
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f".{place.name}.lock")) as is_held:
            is_ours = is_held and not self.has(arm, seed)
            if is_ours:
                for unfinished in place.parent.glob(f".{place.name}.*.part"):  # of a process that was killed
                    remove_ours(unfinished, is_of_a_run)
            yield is_ours

    def place(self, arm: str, seed: int) -> Path:
        """Returns the folder of a run, whether or not it exists yet."""
        return self.path / "runs" / arm / f"seed_{seed}"

    def has(self, arm: str, seed: int) -> bool:
        """Whether a run is finished."""
        return (self.place(arm, seed) / "scores.json").exists()

    def note_failure(self, arm: str, seed: int, error: BaseException | None) -> None:
        """Writes the error that ended a run, or removes an earlier one if `error` is None."""
        path = self.place(arm, seed).with_suffix(".failed.json")
        if error is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"seed": seed, "error": f"{type(error).__name__}: {error}"})

    def failures(self, arm: str) -> dict[int, str]:
        """Returns the errors that ended runs of an arm, by seed."""
        notes = [json.loads(path.read_text()) for path in (self.path / "runs" / arm).glob("seed_*.failed.json")]
        return {note["seed"]: note["error"] for note in sorted(notes, key=lambda note: note["seed"])}

    def seeds(self, arm: str) -> list[int]:
        """Returns the seeds of an arm's finished runs, in ascending order."""
        names = [place.parent.name for place in (self.path / "runs" / arm).glob("seed_*/scores.json")]
        return sorted(int(name.removeprefix("seed_")) for name in names if _SEED.fullmatch(name))

    def records(self, arm: str) -> list[RunRecord]:
        """Reads the records of an arm's finished runs, in the order of their seeds."""
        return [RunRecord.load(self.place(arm, seed)) for seed in self.seeds(arm)]


def _without_modules(config: Any) -> Any:
    """Returns a config without the modules of mtq's classes, which may have moved since it was written."""
    if isinstance(config, dict):
        is_ours = str(config.get("registered_name", "")).startswith("mtq>")
        return {key: _without_modules(value) for key, value in config.items() if not (is_ours and key == "module")}
    return [_without_modules(value) for value in config] if isinstance(config, list) else config


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 300 else f"{text[:300]}…"
