"""A mouse and a finger for the tests of the interactive figures."""


def middle(locator):
    """The middle of an element, in pixels of the window."""
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def swipe(locator, dx, dy):
    """Put a finger on the middle of an element, move it by (dx, dy) pixels in four parts, lift it."""
    page, (x, y) = locator.page, middle(locator)
    touch = page.context.new_cdp_session(page)
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for part in (0.25, 0.5, 0.75, 1):
        points = [{"x": x + part * dx, "y": y + part * dy}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)


def drag(locator, dx, dy):
    """Press the mouse on the middle of an element, move it by (dx, dy) pixels, let it go."""
    mouse, (x, y) = locator.page.mouse, middle(locator)
    mouse.move(x, y)
    mouse.down()
    mouse.move(x + dx, y + dy, steps=5)
    mouse.up()
