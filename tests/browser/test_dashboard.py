"""The dashboard in a real browser: Chromium without a window, a real bank, and a real card that pays while a page is
open. What people typed into names is text and nothing else; nothing is refused by the browser; everybody can use it."""

import contextlib
import http.server
import os
import pathlib
import threading
import types

import pytest
from selenium import webdriver
from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cardwire_lab import Lab, free_ports, wait_for
from small_bank import small_bank

PIN = "135790"
HOSTILE = "<script>window.hacked=1;alert(1)</script>"
REFERENCE = "\"'><img src=x onerror=\"window.hacked=1\">&amp;"
A11Y = (pathlib.Path(__file__).parent / "a11y.js").read_text(encoding="utf-8")


def start_dashboard(lab, folder, port=0):
    port_file = lab.folder / "dashboard-port"
    port_file.unlink(missing_ok=True)
    process = lab.start("dashboard", [lab.program("cardwired"), "--dir", folder, "dashboard", "--listen",
                                      f"127.0.0.1:{port}", "--port-file", port_file])
    wait_for("the dashboard naming its port", lambda: port_file.exists() and port_file.read_text().strip(), process)
    return process, int(port_file.read_text())


@pytest.fixture(scope="module")
def bank():
    with Lab() as lab:
        it = small_bank(lab, PIN)
        it.folder = lab.folder / "bank"
        evil = it.admin("customer", "add", "--name", HOSTILE)["id"]
        it.evil = it.admin("account", "open", "--customer", evil)["account"]
        it.admin("payee", "add", "--card", it.serial, "--account", it.evil, "--confirmed-by", REFERENCE)
        it.dashboard, it.web = start_dashboard(lab, it.folder)
        it.url = f"http://localhost:{it.web}"

        def pay(to=it.payee, amount="1.00", reference="Rent"):
            code, said = it.cardwire(f"inproc:{it.card}", "pay", "--to", to, "--amount", amount, "--currency", "EUR",
                                     "--reference", reference, "--yes")
            assert code == 0, said
            return said
        it.pay = pay
        pay(it.evil, "0.07", REFERENCE)
        yield it


@pytest.fixture(scope="module")
def driver(bank):
    home = bank.lab.subfolder("browser")
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-background-networking", "--disable-component-update", "--window-size=1280,900",
                     f"--user-data-dir={home}/profile"):
        options.add_argument(argument)
    if os.getuid() == 0:
        options.add_argument("--no-sandbox")  # which root cannot have; the pages are our own
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = Service("/usr/bin/chromedriver", port=free_ports(), env=dict(os.environ, HOME=str(home)))
    with contextlib.closing(types.SimpleNamespace(close=service.stop)):
        it = webdriver.Chrome(service=service, options=options)
        it.set_page_load_timeout(60)
        try:
            yield it
        finally:
            it.quit()


@pytest.fixture
def browser(driver):
    """No test begins with what another one left, nor ends with a complaint of the browser's."""
    driver.get("about:blank")
    driver.get_log("browser")
    yield driver
    assert complaints(driver) == []


def complaints(driver):
    """What the browser's console says: errors, and what the Content-Security-Policy refused."""
    return [entry["message"] for entry in driver.get_log("browser")]


def rows(driver):
    return driver.find_elements(By.CSS_SELECTOR, "tbody tr[data-entry]")


def status(driver):
    return driver.find_element(By.CSS_SELECTOR, "[role=status]").text


def shoot(bank, driver, name):
    """A picture of the whole page, in the test's own folder (CARDWIRE_SHOTS: kept there)."""
    folder = pathlib.Path(os.environ.get("CARDWIRE_SHOTS") or bank.lab.folder / "shots")
    folder.mkdir(exist_ok=True)
    width, height = driver.execute_script("return [innerWidth, document.documentElement.scrollHeight]")
    driver.set_window_size(width, max(900, height + 150))
    path = folder / f"{name}.png"
    assert driver.save_screenshot(str(path)) and path.stat().st_size > 5000
    driver.set_window_size(1280, 900)


def scheme(driver, name):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": name}]})


@pytest.mark.parametrize("page", ["/payments", "/"])
def test_a_payment_appears_by_itself(bank, browser, page):
    browser.get(bank.url + page)
    wait_for("the page being live", lambda: status(browser) == "Live")
    browser.execute_script("window.same = 1")
    before = [row.get_attribute("data-entry") for row in rows(browser)]
    bank.pay(amount="1.23")
    wait_for("the payment on the page", lambda: len(rows(browser)) > len(before))
    now = rows(browser)
    assert [row.get_attribute("data-entry") for row in now][1:] == before
    assert "1.23 EUR" in now[0].text and "Rent" in now[0].text and bank.payer in now[0].text
    assert status(browser) == "1 new payment"
    assert browser.execute_script("return window.same") == 1  # the page was not loaded again
    now[0].find_element(By.LINK_TEXT, now[0].get_attribute("data-entry")).click()
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith("Payment ")


def test_pause(bank, browser):
    browser.get(bank.url + "/payments")
    button = browser.find_element(By.CSS_SELECTOR, ".live button")
    button.click()
    assert (button.text, status(browser)) == ("Go on", "Paused")
    before = len(rows(browser))
    bank.pay()
    bank.pay()
    assert len(rows(browser)) == before
    button.click()
    wait_for("both payments", lambda: len(rows(browser)) == before + 2)
    assert status(browser) == "2 new payments"


def test_the_dashboard_goes_and_comes_back(bank, browser):
    browser.get(bank.url + "/payments")
    before = len(rows(browser))
    bank.dashboard.stop()
    assert bank.dashboard.returncode == 0
    wait_for("the page saying so", lambda: "does not answer" in status(browser))
    bank.pay()
    bank.dashboard, _ = start_dashboard(bank.lab, bank.folder, bank.web)
    wait_for("the payment made meanwhile", lambda: len(rows(browser)) == before + 1)
    assert all("ERR_CONNECTION_REFUSED" in entry for entry in complaints(browser))


def test_the_list_stays_short(bank, browser):
    browser.get(bank.url + "/payments")
    browser.execute_script("""const body = document.querySelector('tbody');
        while (body.rows.length < 50) body.append(body.rows[0].cloneNode(true));""")
    last = rows(browser)[-1].get_attribute("data-entry")
    bank.pay()
    wait_for("the payment", lambda: "new" in rows(browser)[0].get_attribute("class"))
    assert len(rows(browser)) == 50 and rows(browser)[-1].get_attribute("data-entry") == last


def test_hostile_names_are_text(bank, browser):
    for page in ("/payments", "/customers", "/accounts", f"/accounts/{bank.evil}", f"/cards/{bank.serial}", "/"):
        browser.get(bank.url + page)
        text = browser.find_element(By.TAG_NAME, "main").text
        assert HOSTILE in text, page
        assert browser.execute_script("return window.hacked") is None
        assert browser.find_elements(By.CSS_SELECTOR, "main script, main img") == []
        with pytest.raises(NoAlertPresentException):
            _ = browser.switch_to.alert
    assert REFERENCE in browser.find_element(By.TAG_NAME, "main").text
    # Also what a page is searched for, and what comes by the script.
    search = browser.find_element(By.LINK_TEXT, "Customers")
    search.click()
    field = browser.find_element(By.ID, "q")
    field.send_keys("'><script>" + Keys.ENTER)
    wait_for("the answer", lambda: "No customers." in browser.page_source)
    assert browser.find_element(By.ID, "q").get_attribute("value") == "'><script>"
    browser.get(bank.url + "/payments")
    before = len(rows(browser))
    bank.pay(bank.evil, "0.08", REFERENCE)
    wait_for("the payment", lambda: len(rows(browser)) > before)
    assert HOSTILE in rows(browser)[0].text and REFERENCE in rows(browser)[0].text
    assert browser.execute_script("return window.hacked") is None


def test_the_browser_refuses_what_is_not_ours(bank, driver):
    """That the checks above bite: markup that got in would not run, and the console would say so."""
    driver.get(bank.url + "/")
    driver.get_log("browser")
    driver.execute_script("""document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="hacked=1">');
        const s = document.createElement('script'); s.textContent = 'hacked=1'; document.body.append(s);
        document.body.setAttribute('style', 'color:red');""")
    said = complaints(driver)
    assert driver.execute_script("return window.hacked") is None
    for directive in ("script-src", "img-src", "style-src"):
        assert any("Content Security Policy" in entry and directive in entry for entry in said), said


def test_every_page_for_everybody(bank, browser):
    """From the first page through every link there is: no page fails, and each holds to the rules of a11y.js, in light
    and in dark."""
    seen, todo = set(), ["/"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        browser.get(bank.url + page)
        for name in ("light", "dark"):
            scheme(browser, name)
            assert browser.execute_script(A11Y) == [], (page, name)
        links = browser.execute_script("return [...document.links].map((a) => a.href)")
        assert all(link.startswith(bank.url + "/") for link in links)
        todo += [link[len(bank.url):].split("#")[0] for link in links]
        assert complaints(browser) == [], page
    kinds = {page.split("/")[1].split("?")[0] for page in seen}
    assert kinds == {"", "payments", "entries", "accounts", "cards", "customers"}
    scheme(browser, "light")


@pytest.mark.parametrize("damage", [
    "document.documentElement.lang = ''",
    "document.querySelector('label').remove()",
    "document.querySelector('h1').remove()",
    "document.querySelector('thead th').removeAttribute('scope')",
    "document.querySelector('caption').remove()",
    "document.querySelector('nav a').textContent = ''",
    "document.querySelector('main').id = 'q'",
    "document.querySelector('footer').className = 'x'; document.styleSheets[0].insertRule('.x { color: #999 }', "
    "document.styleSheets[0].cssRules.length)",
])
def test_the_rules_bite(bank, browser, damage):
    browser.get(bank.url + "/customers")
    assert browser.execute_script(A11Y) == []
    browser.execute_script(damage)
    assert len(browser.execute_script(A11Y)) >= 1


def test_by_the_keyboard(bank, browser):
    browser.get(bank.url + "/customers")
    body = browser.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    skip = browser.switch_to.active_element
    assert skip.text == "Skip to the content" and skip.location["x"] >= 0  # it comes into sight
    skip.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.tag_name == "main"
    browser.switch_to.active_element.send_keys(Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("id") == "q"
    browser.switch_to.active_element.send_keys("ben" + Keys.ENTER)
    wait_for("the search", lambda: len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == 1)
    assert "Ben" in browser.find_element(By.TAG_NAME, "tbody").text


def test_without_scripts(bank, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(bank.url + "/payments")
        assert "does not update by itself" in browser.find_element(By.TAG_NAME, "main").text
        assert len(rows(browser)) >= 1
        assert not browser.find_element(By.CSS_SELECTOR, ".live button").is_displayed()
        browser.find_element(By.LINK_TEXT, "Accounts").click()
        assert bank.payer in browser.find_element(By.TAG_NAME, "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_payment_with_all_that_proves_it(bank, browser):
    order = bank.pay(amount="2.50", reference="Invoice 7")["payment"]["order"]
    browser.get(f"{bank.url}/payments/{order}")
    text = browser.find_element(By.TAG_NAME, "main").text
    assert browser.find_element(By.TAG_NAME, "pre").text.startswith(
        f"CARDWIRE ORDER 1\nPay: 2.50 EUR\nTo: {bank.payee}\nName: Ben\n")
    assert [badge.text for badge in browser.find_elements(By.CSS_SELECTOR, ".badge")] == ["good"] * 5
    assert "P-256" in text and order in text and bank.serial in text
    head = bank.admin("audit")["head"]
    assert head.split(":")[1] in text  # its hash is the head: it is the last
    browser.get(bank.url)
    assert head in browser.find_element(By.TAG_NAME, "main").text


def test_how_it_looks(bank, browser):
    order = bank.pay()["payment"]["order"]
    for name, page in (("overview", "/"), ("payments", "/payments"), ("payment", f"/payments/{order}"),
                       ("accounts", "/accounts"), ("account", f"/accounts/{bank.payer}"), ("cards", "/cards"),
                       ("card", f"/cards/{bank.serial}"), ("customers", "/customers")):
        browser.get(bank.url + page)
        shoot(bank, browser, name)
    scheme(browser, "dark")
    browser.get(bank.url)
    shoot(bank, browser, "dark")
    scheme(browser, "light")
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": True})
    try:
        for page in ("/", "/payments", f"/payments/{order}", "/cards", f"/cards/{bank.serial}"):
            browser.get(bank.url + page)
            wide, window = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
            assert wide <= window, page  # tables scroll by themselves, the page does not
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_nobody_frames_it(bank, browser):
    """A page of another origin, that would have the operator click on it, gets none; what does not forbid it is
    framed."""
    class Stranger(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<h1>Overview</h1>" if self.path == "/open" else
                             f"<iframe src='{self.path[1:]}'></iframe>".encode())

        def log_message(self, *_):
            pass
    framed = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{stranger.server_port}"
        for url in (f"http://localhost:{stranger.server_port}/open", bank.url + "/"):
            browser.get(f"{here}/{url}")
            browser.switch_to.frame(0)
            framed.append("Overview" in browser.page_source)
        browser.get("about:blank")
        stranger.shutdown()
    assert framed == [True, False]
    complaints(browser)  # of the frame that was refused
