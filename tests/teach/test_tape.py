import minicnn as mc


def test_the_tape_as_text():
    w, x = mc.ones(3, 2, requires_grad=True), mc.ones(4, 3)
    y = (x @ w).relu()
    text = mc.teach.tape_text((y * y).sum())
    ops = [line.split()[1] for line in text.splitlines()]
    assert ops[-3:] == ["Relu", "Mul", "Sum"] and "MatMul" in ops
    assert "leaf (3, 2)" in text and text.splitlines()[-1].endswith("-> ()")
    assert mc.teach.tape_text(x) == ""
