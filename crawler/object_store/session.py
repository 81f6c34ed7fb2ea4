"""A run for an object store is worked on in a copy on a local disk.

Nothing that was finished is lost. An interrupted run continues from its copy. On another machine, or if another
machine has worked on it since, it continues from the store. Trouble with the store ends no measurement: the upload is
tried again, and trouble that lasts is an error only at the end. A finished run leaves no copy.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from crawler.dataset.run import RunDirectory
from crawler.model.errors import ScanFailed, UsageError
from crawler.model.reporting import Reporter
from crawler.object_store.checkout import copy_of, is_finished, set_copy
from crawler.object_store.client import Store, StoreError
from crawler.object_store.lease import BEAT, ensure_abandoned, of_this_process, read_note, write_note
from crawler.object_store.sync import MANIFEST, Mirror

log = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks for finished files."""

LAST_TRIES = 300.0
"""Seconds in which the last files are tried again and again before the scan gives up."""


@contextmanager
def working_copy(store: Store, run: RunDirectory, progress: Reporter) -> Iterator[WorkingCopy]:
    """The copy of a run that is locked, made if need be; at the end the store has what is finished, or a line says why not.

    Raises `UsageError` if another machine is working on the run or has just finished it.
    """
    copy = WorkingCopy(store, run, progress)
    copy.take()
    try:
        yield copy
    finally:
        copy.leave()


class WorkingCopy:
    """One run's copy, from which finished files are put into the store all the while."""

    def __init__(self, store: Store, run: RunDirectory, progress: Reporter) -> None:
        self.where = f"{store.name}/{run.path.name}"
        self.trouble: str | None = None  #: why nothing may be put any more
        self.is_behind = False  #: the store lacks something, and the scan has ended
        self._store = store
        self._run = run
        self._progress = progress
        self._mirror = Mirror(store, run)
        self._is_cut_off = False
        self._seen_ours = 0.0  #: when the store last said so
        self._over = threading.Event()
        self._id = ""
        self._threads = [threading.Thread(target=work) for work in (self._beat, self._push_now_and_then)]

    def take(self) -> None:
        """Make sure that this copy is the last that was worked on, say so in the store, and put files from now on.

        Asks the store, and watches for up to a minute whether another scan still works.  Raises `UsageError`.
        """
        run = self._run.path.name
        copy, note = copy_of(self._run), read_note(self._store, run)
        is_latest = bool(copy) and (note is None or note.copy == copy)
        if not is_latest:
            ensure_abandoned(self._store, run, note, self._progress.say)
        manifest = self._store.read(f"{run}/{MANIFEST}")
        if is_finished(manifest):  # since the run was chosen
            self._drop(f"was finished by {note.who if note else 'another scan'} meanwhile; it is complete")
        if not is_latest:
            if manifest is None and copy == "":
                self._drop("is in the store no more, and its copy here is incomplete; the same command begins another")
            if manifest is not None and copy is None:
                raise UsageError(f"{self.where}: was begun elsewhere in the same moment; name another by --run")
            if manifest is not None:
                self._bring()
        self._mirror.look()
        self._id = copy if copy and is_latest else uuid.uuid4().hex
        set_copy(self._run, self._id)
        write_note(self._store, run, of_this_process(self._id))
        for thread in self._threads:
            thread.start()

    def settle(self, tick: Callable[[int], None]) -> None:
        """Put all there is, but for the last word of the manifest.  Raises `ScanFailed`, and what `tick` raises."""
        give_up = time.monotonic() + LAST_TRIES
        while True:
            try:
                self._mirror.look()
                self._push(tick)
                return
            except StoreError as error:
                self._complain(error)
                if time.monotonic() > give_up:
                    self.is_behind = True
                    raise ScanFailed(self._kept(error)) from error
            except UsageError as error:  # somebody's files among our parts
                raise ScanFailed(self._kept(error)) from error
            pause = time.monotonic() + min(EVERY, LAST_TRIES)
            while time.monotonic() < pause:
                tick(0)
                time.sleep(0.1)

    def pending(self) -> int:
        """Files that have yet to be put."""
        return self._mirror.pending()

    def finish(self) -> None:
        """Let the store say that the run is finished, and remove the copy.  Raises `ScanFailed`; then it is not finished."""
        self._stop()
        try:
            self._must_be_ours()
            self._mirror.finish()
        except (StoreError, ScanFailed) as error:
            self.is_behind = True
            self._run.write_manifest(replace(self._run.manifest(), state="interrupted"))
            if isinstance(error, ScanFailed):
                raise
            raise ScanFailed(self._kept(error)) from error
        try:
            self._store.remove_below(f"{self._run.path.name}/_work")
        except StoreError as error:
            log.warning("%s; _work is of no use there any more", error)
        shutil.rmtree(self._run.path, ignore_errors=True)

    def leave(self) -> None:
        """Put what is finished, if the run is not, and let others have it; if that fails a line says so."""
        self._stop()
        if self.is_behind or self.trouble or not self._run.path.exists():
            return
        try:
            if files := self.pending():
                self._progress.say(f"{self.where}: {files:,} files are put there yet")
            self._push(lambda files: None)
            write_note(self._store, self._run.path.name, of_this_process(self._id, is_resting=True))
        except (StoreError, ScanFailed, OSError) as error:  # no reason to hide why the scan ended
            self.is_behind = True
            log.warning("%s", self._kept(error))

    # --- taking it ---

    def _drop(self, why: str) -> None:
        """Remove a copy that nothing can come of, and say so."""
        shutil.rmtree(self._run.path, ignore_errors=True)
        raise UsageError(f"{self.where}: {why}")

    def _bring(self) -> None:
        total = 0

        def on_file(number: int, of: int) -> None:
            nonlocal total
            if not total:
                self._progress.begin("fetching", "files", of)
                total = of
            self._progress.reach(number)

        try:
            set_copy(self._run, "")
            self._mirror.bring(on_file)
        except OSError as error:
            self._progress.close()
            raise UsageError(
                f"{self._run.path}: cannot be written ({error.strerror or error}); check --work-dir"
            ) from error
        if total:
            self._progress.end()

    # --- threads ---

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            try:
                self._must_be_ours()
                write_note(self._store, self._run.path.name, of_this_process(self._id))
            except StoreError:
                pass  # who puts files hears of it, and tells
            except ScanFailed:
                return

    def _push_now_and_then(self) -> None:
        while not self._over.wait(EVERY):
            try:
                self._push(self._stop_if_over)
                if self._is_cut_off:
                    self._is_cut_off = False
                    log.warning("%s: can be written again", self._store.name)
            except StoreError as error:
                self._complain(error)
            except _Over:
                return
            except ScanFailed:
                return
            except OSError:
                pass  # such as a full disk, of which the scan hears too

    def _stop_if_over(self, files: int) -> None:
        if self._over.is_set():
            raise _Over

    def _push(self, tick: Callable[[int], None]) -> None:
        def on_files(files: int) -> None:
            tick(files)
            if self.trouble:
                raise ScanFailed(self.trouble)
            # A machine may sleep between two files; a monotonic clock would sleep with it.
            if abs(time.time() - self._seen_ours) > BEAT:
                self._must_be_ours()

        self._must_be_ours()
        self._mirror.push(on_files)

    def _must_be_ours(self) -> None:
        """Nothing is put without the store's word that it is ours.

        A process that finishes a run writes so into the manifest and removes the note after that, so the note is read
        first. A store that was cut off may say of a note that it is not there: that alone says nothing.
        """
        run = self._run.path.name
        note = read_note(self._store, run)
        manifest = self._store.read(f"{run}/{MANIFEST}")
        if is_finished(manifest):
            self.trouble = f"{self.where}: another scan has finished this run"
        elif note is not None and note.copy != self._id:
            self.trouble = f"{self.where}: {note.who} has taken over this run"
        elif note is None and manifest is None:
            raise StoreError(f"{self.where}: whose run this is cannot be read (neither note nor manifest is there)")
        else:
            self._seen_ours = time.time()
            return
        raise ScanFailed(self.trouble)

    def _complain(self, error: StoreError) -> None:
        if not self._is_cut_off:
            self._is_cut_off = True
            log.warning("%s; everything is kept in %s, and it is tried again", error, self._run.path)

    def _stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _kept(self, error: Exception) -> str:
        return f"{error}; everything finished is kept in {self._run.path}, the same command continues"


class _Over(Exception):
    """The scan has ended; the rest is put by who ends it."""
