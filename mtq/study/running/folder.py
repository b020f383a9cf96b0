"""The folder of a study: what it consists of, and every run that is finished."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mtq.runs import versions
from mtq.storage.files import as_path, locked, write_json
from mtq.storage.folders import check_folder_place, remove_ours
from mtq.study.running.record import RunRecord, is_of_a_run

ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._,=+-]{,199}")
_SEED = re.compile(r"seed_\d+")


class StudyFolder:
    """A folder with `study.json` and a folder for each finished run, `runs/<arm>/seed_<n>`.

    Args:
        path: Where.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = as_path("folder of a study", path)

    @property
    def plan(self) -> dict[str, Any]:
        """What the study consists of.

        Raises:
            FileNotFoundError: There is no study, or its plan was lost.
        """
        if self._plan_path.exists():
            return json.loads(self._plan_path.read_text())
        if self._has_runs():
            raise FileNotFoundError(
                f"A folder with the runs of a study must have its plan. Received: {str(self.path)!r}, which has runs "
                "but no study.json. Copy that too, from where they were made, or choose another folder."
            )
        raise FileNotFoundError(
            f"There must be a study in the folder. Received: {str(self.path)!r}, which has no study.json. "
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
        """Writes what the study consists of, or adds to it the arms that are new.

        Args:
            plan: As JSON values, with the arms by name under `"arms"`.
            command: By which it is run, for the record.
            is_alone: False while other shards are being made, which must have been asked for the same runs.

        Raises:
            ValueError: The folder holds runs of another plan.
            FileNotFoundError: It holds runs, and their plan was lost.
        """
        check_folder_place(self.path, "folder of a study")
        self._check_ours()
        plan = json.loads(json.dumps(plan))
        plan["asked"] = {"arms": list(plan["arms"]), "seeds": plan["seeds"]}
        if not is_alone or self._has_runs():
            before = {"replicas": 1, **self.plan}  # which older studies do not say
            for key in plan.keys() - {"arms", "seeds", "asked", "comparisons"}:
                self._check_same(key, before.get(key), plan[key])
            for name in plan["arms"].keys() & before["arms"].keys():
                self._check_same(f"arm '{name}'", before["arms"][name], plan["arms"][name])
            if not is_alone:
                for key, asked in plan["asked"].items():
                    self._check_same(key, before["asked"][key], asked)
            plan["arms"] = {**before["arms"], **plan["arms"]}
            plan["seeds"] = sorted({*before["seeds"], *plan["seeds"]})
            known = before.get("comparisons", [])
            plan["comparisons"] = [*known, *(pair for pair in plan["comparisons"] if pair not in known)]
        elif self._plan_path.exists() and any(
            self.plan.get(key) != plan[key] for key in plan.keys() - {"seeds", "asked", "comparisons"}
        ):
            (self.path / "random.json").unlink(missing_ok=True)  # nothing was run by the plan that was there
        self._make()
        write_json(self._plan_path, {**plan, "command": command, "versions": versions()})

    def _check_ours(self) -> None:
        """Raises a FileExistsError if the folder holds files with a study's names that no study wrote."""
        if self._plan_path.exists():
            try:
                self.check_names(self.plan)
            except ValueError as error:
                raise FileExistsError(
                    f"The folder of a study must be new, or hold one. Received: {str(self.path)!r}, whose study.json "
                    "is of something else. Choose another folder."
                ) from error
        if (self.path / "random.json").exists() and not self._plan_path.exists() and not self._has_runs():
            raise FileExistsError(
                f"The folder of a study must be new, or hold one. Received: {str(self.path)!r}, which has a "
                "random.json but no study.json. Choose another folder."
            )

    def check_names(self, plan: Any) -> None:
        """Raises a ValueError unless this is a study's plan, and its arms name folders inside the study's folder.

        Args:
            plan: The content of `study.json`.
        """
        is_plan = isinstance(plan, dict) and plan.keys() >= {"tasks", "arms", "seeds"}
        names = list(plan["arms"]) if is_plan and isinstance(plan["arms"], dict) else [""]
        outside = [name for name in names if not ARM_NAME.fullmatch(name)]
        if outside:
            raise ValueError(
                f"study.json must be the plan of a study, with arms whose names name folders. Received: in "
                f"{str(self.path)!r} {f'an arm {outside[0]!r}' if is_plan else 'something else'}. Give the folder "
                "that `mtq study --out` or Study.run wrote."
            )

    def _check_same(self, what: str, before: Any, now: Any) -> None:
        if _without_modules(before) == _without_modules(now):
            return
        if isinstance(before, dict) and isinstance(now, dict):
            other = [key for key in {**before, **now} if before.get(key) != now.get(key)]
            before, now = ({key: one.get(key) for key in other} for one in (before, now))
        raise ValueError(
            f"The study in {str(self.path)!r} has another {what}, so its runs cannot be gone on with. Received: "
            f"{_short(now)}, where it has {_short(before)}. Choose another folder, or delete this one."
        )

    @contextlib.contextmanager
    def held(self, shard: tuple[int, int] = (0, 1)) -> Iterator[None]:
        """Holds the folder against other processes, until this one ends in whatever way.

        Args:
            shard: Which part of how many this process makes; the others may be made meanwhile.

        Raises:
            ValueError: Another process holds it.
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
                    f"is running {'this shard or all of it' if is_part else 'it'}. Wait for that, or choose another "
                    "folder."
                )
            yield

    @contextlib.contextmanager
    def planning(self) -> Iterator[None]:
        """Reading and writing what the study consists of, while other processes wait."""
        self._make()
        with locked(self.path / ".lock_plan", waits=True):
            yield

    def is_free(self) -> bool:
        """Whether no process holds the study or a part of it. To be asked while `planning`."""
        with locked(self.path / ".lock") as is_held:
            return is_held

    @contextlib.contextmanager
    def claimed(self, arm: str, seed: int) -> Iterator[bool]:
        """Whether a run is to be made here: it is not finished, and no other process is at it.

        Args:
            arm: Of the run.
            seed: Likewise.
        """
        place = self.place(arm, seed)
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place.with_name(f".{place.name}.lock")) as is_held:
            is_ours = is_held and not self.has(arm, seed)
            if is_ours:
                for cut_off in place.parent.glob(f".{place.name}.*.part"):  # by a process that was killed
                    remove_ours(cut_off, is_of_a_run)
            yield is_ours

    def place(self, arm: str, seed: int) -> Path:
        """Where a run is, or will be."""
        return self.path / "runs" / arm / f"seed_{seed}"

    def has(self, arm: str, seed: int) -> bool:
        """Whether a run is finished."""
        return (self.place(arm, seed) / "scores.json").exists()

    def note_failure(self, arm: str, seed: int, error: BaseException | None) -> None:
        """Notes why a run could not be finished, or that it was."""
        path = self.place(arm, seed).with_suffix(".failed.json")
        if error is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"seed": seed, "error": f"{type(error).__name__}: {error}"})

    def failures(self, arm: str) -> dict[int, str]:
        """Why runs of an arm could not be finished, by seed."""
        found = [json.loads(path.read_text()) for path in (self.path / "runs" / arm).glob("seed_*.failed.json")]
        return {one["seed"]: one["error"] for one in sorted(found, key=lambda one: one["seed"])}

    def seeds(self, arm: str) -> list[int]:
        """The seeds of an arm's finished runs."""
        names = [place.parent.name for place in (self.path / "runs" / arm).glob("seed_*/scores.json")]
        return sorted(int(name.removeprefix("seed_")) for name in names if _SEED.fullmatch(name))

    def records(self, arm: str) -> list[RunRecord]:
        """An arm's finished runs, by seed."""
        return [RunRecord.load(self.place(arm, seed)) for seed in self.seeds(arm)]


def _without_modules(config: Any) -> Any:
    """A config without the modules of mtq's own classes, which may have moved since it was written."""
    if isinstance(config, dict):
        is_ours = str(config.get("registered_name", "")).startswith("mtq>")
        return {key: _without_modules(value) for key, value in config.items() if not (is_ours and key == "module")}
    return [_without_modules(value) for value in config] if isinstance(config, list) else config


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 300 else f"{text[:300]}…"
