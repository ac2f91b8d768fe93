"""Deployer `huggingface`: a student in a repository on the Hub, and an Inference Endpoint if asked for.

branch filterkit-ID   one deployment: the student, its card, handler.py and runtime/, deployment.json; one commit
branch main           the live one: the same files, put there by one commit out of that branch
tag vVERSION          the commit of main with the filter's version that was activated last
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from filterkit.api import (
    ArtifactError,
    ConfigError,
    Context,
    Deployer,
    Deployment,
    FilterSpec,
    GateRefused,
    InputError,
    Manifest,
    Options,
    Scorer,
    Shipped,
    load_scorer,
    read_shipped,
    sha256_file,
)
from filterkit_hf.dataset import dataset_files, publish_dataset
from filterkit_hf.endpoint_model import EndpointModel, EndpointOptions
from filterkit_hf.endpoints import Endpoints
from filterkit_hf.hub import Access, Content, Repo, Stored, sha256_of
from filterkit_hf.leaks import refuse_leaks
from filterkit_hf.options import HubOptions, hub_address
from filterkit_hf.parcel import SHIPPED, THE_HUBS, Parcel, pack, written
from filterkit_hf.plans import plan_lines
from filterkit_hf.scratch import Scratch

_ID = re.compile(r"[0-9a-f]{16}")


class HubDeployer(Deployer[HubOptions]):
    """Every change that others see is one commit, so that they see the old state or the new one."""

    Options: ClassVar[type[Options]] = HubOptions

    def __init__(self, options: HubOptions, spec: FilterSpec, ctx: Context) -> None:
        super().__init__(options, spec, ctx)
        self._target = f"{hub_address()}/{options.repo_id}"
        self._access = Access(ctx, patience_s=options.patience_s, timeout_s=options.timeout_s)
        self._repo = Repo(self._access, options.repo_id)
        self._endpoints = Endpoints(self._access, options.repo_id.partition("/")[0], options.endpoints_api)
        self._scratch = Scratch(ctx.workdir)
        self._fetched: tuple[str, Path] | None = None
        self._packed: tuple[dict[Path, tuple[int, int]], Parcel] | None = None

    @property
    def target(self) -> str:
        return self._target

    def contents(self, student: Path) -> dict[str, str]:
        return self._pack(student).hashes

    def plan(self, student: Path) -> list[str]:
        parcel = self._pack(student)
        return plan_lines(parcel, self.options, self._repo, self._endpoints, self._data_folder(parcel.manifest))

    def publish(self, student: Path, student_hash: str) -> Deployment:
        """One commit on a branch of its own; a dataset repository before it, where one is asked for."""
        parcel = self._pack(student)
        if parcel.manifest.student_hash != student_hash:
            raise ArtifactError("holds another student than was to be published", where=student)
        labels = self._labels(parcel.manifest)
        refuse_leaks(parcel.anybodys, [self._access.token])
        refuse_leaks(labels, [self._access.token])
        self._make_private(self._repo)
        self._refuse_foreign()
        self._publish_labels(parcel.manifest, labels)
        branch = _branch(parcel.id)
        self._repo.settle(lambda: self._is_published(parcel, branch), lambda: self._upload(parcel, branch))
        return self._deployment(self._there(parcel.id, student_hash)[1])

    def open(self, deployment: Deployment) -> Scorer:
        fetched = self._fetched
        folder = fetched[1] if fetched and fetched[0] == deployment.id else self._fetch(deployment)[1]
        return load_scorer(folder)

    def fetch_hashes(self, deployment: Deployment) -> dict[str, str]:
        """Every file of the branch, downloaded anew."""
        commit, folder = self._fetch(deployment)
        found = {name: sha256_file(folder / name) for name in _names(folder)}
        expected = deployment.state.get(SHIPPED)
        if expected is not None and found.get(SHIPPED) != expected:
            raise GateRefused(f"{SHIPPED} out there is not the one that was published", where=self.target)
        tree = self._repo.tree(commit)
        if THE_HUBS in tree and not tree[THE_HUBS].is_of(folder / THE_HUBS):
            raise GateRefused(f"{THE_HUBS} out there is damaged", where=self.target)
        return found

    def activate(self, deployment: Deployment) -> None:
        """Put the branch's files on main in one commit, move the version's tag there, tell the endpoint."""
        commit, shipped = self._there(deployment.id, deployment.student_hash)
        self._make_private(self._repo)
        self._repo.settle(lambda: self._is_live(commit), lambda: self._make_live(commit, shipped))
        live = self._head()
        self._repo.move_tag(f"v{shipped.version}", live)
        if self.options.endpoint:
            self._endpoints.serve(self.options.endpoint, self.options.repo_id, live, self.options)

    def serving(self, deployment: Deployment) -> Scorer | None:
        """Asks the endpoint, once it serves what is on main. GateRefused when it does not come up."""
        name = self.options.endpoint
        if name is None:
            return None
        endpoint = self._endpoints.wait(name, self._head(), self.options.endpoint_timeout_s)
        if not endpoint.url:
            raise GateRefused(f"endpoint {name} has no address", where=self.target)
        options = EndpointOptions(cold_start_s=self.options.endpoint_timeout_s)
        return EndpointModel(options, self.spec, self.ctx).load(endpoint.url)

    def current(self) -> Deployment | None:
        head = self._repo.head("main")
        try:
            shipped = None if head is None else self._unchanged_at(head)
        except GateRefused:
            if not self.options.replace:
                raise
            return None
        return None if shipped is None else self._deployment(shipped)

    def remove(self, deployment: Deployment) -> None:
        """Delete the branch. What was live once stays in the history of main."""
        branch = _branch(deployment.id)
        live = self.current()
        if live is not None and live.id == deployment.id:
            raise InputError("this is the active deployment", where=self.target, fix="Activate another one first")
        self._repo.delete_branch(branch)

    def close(self) -> None:
        self._fetched = None
        self._scratch.drop()

    def _pack(self, student: Path) -> Parcel:
        """The parcel of a student; the last one again while no file of it changed, since its hashes take long."""
        files = [(path, path.stat()) for path in sorted(student.rglob("*"))]
        state = {path: (stat.st_size, stat.st_mtime_ns) for path, stat in files}
        if self._packed is None or self._packed[0] != state:
            self._packed = (state, pack(student, self.options, self.spec))
        return self._packed[1]

    def _make_private(self, repo: Repo) -> None:
        """The repository, made if it is not there. ConfigError unless as many may read it as was asked for."""
        private = repo.private()
        if private is None:
            repo.create(private=not self.options.public)
            private = repo.private()
        if not private and not self.options.public:
            raise ConfigError(
                "is public, and that was not asked for",
                where=repo.repo_id,
                fix="Make it private in its settings, name another, or say -O public=true",
            )
        if private and self.options.public:
            raise ConfigError(
                "is private, and public=true was asked for",
                where=repo.repo_id,
                fix="Make it public in its settings, which shows all of its history, or leave that option out",
            )

    def _head(self) -> str:
        head = self._repo.head("main")
        if head is None:
            raise InputError("has no branch main", where=self.options.repo_id)
        return head

    def _refuse_foreign(self) -> None:
        """InputError where main has files that no deployment put there, unless they may be replaced."""
        if self.options.replace:
            return
        head = self._head()
        tree = self._repo.tree(head).keys() - {THE_HUBS}
        shipped = self._shipped_at(head)
        foreign = sorted(tree - ({"README.md"} if shipped is None else {SHIPPED, *shipped.files}))
        if foreign:
            raise InputError(
                f"main has files that filterkit did not put there, such as {foreign[0]!r}",
                where=self.options.repo_id,
                fix="Name another repo_id, or say -O replace=true: main then shows the student alone",
            )

    def _labels(self, manifest: Manifest) -> dict[str, Content]:
        """The files of the dataset repository; none where none is asked for."""
        if self.options.dataset_repo_id is None:
            return {}
        return dataset_files(manifest, self._data_folder(manifest), self.options)

    def _publish_labels(self, manifest: Manifest, files: Mapping[str, Content]) -> None:
        if self.options.dataset_repo_id is None:
            return
        repo = Repo(self._access, self.options.dataset_repo_id, "dataset")
        self._make_private(repo)
        publish_dataset(repo, files, f"Labels of {manifest.spec.name} {manifest.spec.version}")

    def _data_folder(self, manifest: Manifest) -> Path:
        name = self.options.dataset_dir or f"datasets/{manifest.spec.name}-v{manifest.spec.version}"
        return self.ctx.root / Path(name).expanduser()

    def _is_published(self, parcel: Parcel, branch: str) -> bool:
        head = self._repo.head(branch)
        if head is None or _differences(self._repo.tree(head), parcel.files):
            return False
        shipped = self._shipped_at(head)
        return shipped is not None and shipped.id == parcel.id

    def _upload(self, parcel: Parcel, branch: str) -> None:
        """The one commit. A branch without it, as a killed run leaves, is taken up."""
        head = self._repo.head(branch)
        if head is None:
            head = self._head()
            self._repo.create_branch(branch, head)
        tree = self._repo.tree(head)
        changed = _differences(tree, parcel.files)
        add: dict[str, Content] = {name: parcel.files[name] for name in changed if name in parcel.files}
        add[SHIPPED] = written(parcel.shipped())
        gone = [name for name in changed if name not in parcel.files]
        self._repo.commit(branch, head, f"Deployment {parcel.id}", add=add, delete=gone)

    def _is_live(self, commit: str) -> bool:
        ours, theirs = self._repo.tree(commit), self._repo.tree(self._head())
        ours.pop(THE_HUBS, None)
        theirs.pop(THE_HUBS, None)
        return ours == theirs

    def _make_live(self, commit: str, shipped: Shipped) -> None:
        """One commit on main: large files are linked there, small ones sent again, checked. On top of the main that was
        looked at, or not at all."""
        self._refuse_foreign()
        head = self._head()
        ours, theirs = self._repo.tree(commit), self._repo.tree(head)
        changed = [name for name in ours if name != THE_HUBS and theirs.get(name) != ours[name]]
        gone = [name for name in theirs if name not in ours and name != THE_HUBS]
        with self._small_files(commit, [name for name in changed if not ours[name].large]) as small:
            for name, path in small.items():
                expected = shipped.files.get(name)
                if not ours[name].is_of(path) or expected not in (None, sha256_of(path)):
                    raise GateRefused(f"{name} out there is not the file that was published", where=self.target)
            message = f"{shipped.filter} {shipped.version}: deployment {shipped.id}"
            large = dict.fromkeys((name for name in changed if ours[name].large), commit)
            self._repo.commit("main", head, message, add=small, copy=large, delete=gone)

    @contextmanager
    def _small_files(self, commit: str, names: list[str]) -> Iterator[dict[str, Path]]:
        """Files of a commit, downloaded for the time of the block."""
        with tempfile.TemporaryDirectory(prefix="filterkit-") as made:
            if names:
                self._repo.fetch(commit, Path(made), names)
            yield {name: Path(made) / name for name in names}

    def _there(self, deployment_id: str, student_hash: str) -> tuple[str, Shipped]:
        """Commit and deployment.json of a branch, asked afresh. InputError where it is not there, GateRefused where it
        is another."""
        branch = _branch(deployment_id)
        head = self._repo.head(branch)
        if head is None:
            raise InputError(
                f"deployment {deployment_id} is not there", where=self.target, fix="Deploy the student again"
            )
        shipped = self._shipped_at(head)
        if shipped is None or shipped.id != deployment_id:
            raise GateRefused(f"branch {branch} shows another deployment", where=self.target, fix="Deploy again")
        if shipped.student_hash != student_hash:
            raise GateRefused(f"deployment {deployment_id} is of another student", where=self.target)
        return head, shipped

    def _shipped_at(self, commit: str) -> Shipped | None:
        """The deployment.json of a commit; None where it has none. GateRefused where it is damaged."""
        stored = self._repo.tree(commit).get(SHIPPED)
        if stored is None:
            return None
        with self._small_files(commit, [SHIPPED]) as found:
            data = found[SHIPPED].read_bytes()
        try:
            return read_shipped(data, self.target)
        except ArtifactError as error:
            raise GateRefused(
                f"{SHIPPED} {error.what}", where=self.target, fix="Deploy again with -O replace=true"
            ) from error

    def _unchanged_at(self, main: str) -> Shipped | None:
        """The deployment on main. GateRefused where its files are not those of its branch, while there is one."""
        shipped = self._shipped_at(main)
        branch = None if shipped is None else self._repo.head(_branch(shipped.id))
        if shipped is None or branch is None:
            return shipped
        ours, theirs = self._repo.tree(branch), self._repo.tree(main)
        changed = sorted(n for n in {*ours, *theirs} - {THE_HUBS} if ours.get(n) != theirs.get(n))
        if changed:
            raise GateRefused(f"{changed[0]} on main is not that of deployment {shipped.id}", where=self.target)
        return shipped

    def _deployment(self, shipped: Shipped) -> Deployment:
        return Deployment(
            id=shipped.id,
            target=self.target,
            student_hash=shipped.student_hash,
            at=shipped.at,
            url=f"{self._repo.url}/tree/{_branch(shipped.id)}",
            state={SHIPPED: sha256_of(written(shipped))},
        )

    def _fetch(self, deployment: Deployment) -> tuple[str, Path]:
        """The commit of a deployment and a folder with its files, downloaded now."""
        commit, _ = self._there(deployment.id, deployment.student_hash)
        self._fetched = None
        folder = self._scratch.make()
        self._repo.fetch(commit, folder)
        self._fetched = (deployment.id, folder)
        return commit, folder


def _branch(deployment_id: str) -> str:
    """Branch of a deployment. InputError on what is no id of one: it could be the name of anything."""
    if not _ID.fullmatch(deployment_id):
        raise InputError(f"{deployment_id!r} is not a deployment")
    return f"filterkit-{deployment_id}"


def _differences(tree: dict[str, Stored], files: dict[str, Content]) -> list[str]:
    """Paths that a tree and the files to be there do not have in common."""
    theirs = tree.keys() - {THE_HUBS, SHIPPED}
    other = [name for name in files if name not in tree or not tree[name].is_of(files[name])]
    return sorted({*other, *(theirs - files.keys())})


def _names(folder: Path) -> list[str]:
    """Files below a folder, without what the download itself put there."""
    found = (p.relative_to(folder) for p in sorted(folder.rglob("*")) if p.is_file())
    return [path.as_posix() for path in found if path.parts[0] != ".cache"]
