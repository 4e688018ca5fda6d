"""Files in the browser."""

from __future__ import annotations

from pathlib import Path

from browser import Window
from drumlin import Drumlin
from playwright.sync_api import expect


def test_a_file_is_uploaded_with_progress_downloaded_and_deleted(
    window: Window, server: Drumlin, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 20_000
    (tmp_path / "large file.bin").write_bytes(content)
    window.go("files")
    with window.page.expect_file_chooser() as chooser:
        window.button("Choose files").click()
    chooser.value.set_files(tmp_path / "large file.bin")
    expect(window.page.get_by_role("rowheader", name="large file.bin")).to_be_visible()
    assert server.client.get("/api/files/large%20file.bin").content == content
    with window.page.expect_download() as download:
        window.button("Download large file.bin").click()
    download.value.save_as(tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == content
    window.shot("files-uploaded")
    window.button("Delete large file.bin").click()
    window.page.locator("dialog").get_by_role("button", name="Delete").click()
    expect(window.page.get_by_role("rowheader", name="large file.bin")).to_have_count(0)
    assert server.client.get("/api/files/large%20file.bin").status_code == 410
