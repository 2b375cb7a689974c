from exercises.attempts import Attempts

a = Attempts("predictions")
RIGHT = (128, 0, 4, 4, 2, 2)


def says(why, *true, **changes):
    names = ("trained", "dA", "rank", "sgd", "adamw", "swapped")
    values = tuple((dict(zip(names, RIGHT, strict=True)) | changes).values())
    a.is_wrong(why, *true)(lambda: values)


a.is_right("as ints")(lambda: RIGHT)
a.is_right("as floats, in a list")(lambda: [128.0, 0.0, 4.0, 4.0, 2.0, 2.0])
says("A and B with the bias", trained=140)
says("r (O + I) / 2", "0.5 times", trained=64)
says("A and B share r", trained=32 - 4)
says("dA small, but not zero", dA=1e-3)
says("rank of one more", rank=5)
says("rank zero", "zero everywhere", "False", rank=0)
says("sgd by alpha cubed", sgd=8)
says("sgd by the root", sgd=2**0.5)
says("adamw halves", adamw=0.5)
says("adamw by the root of 2", adamw=2**0.5)
says("the two optimizers in each other's place", "scale stands in delta_W", "AdamW divides", sgd=2, adamw=4)
says("swapped to the fourth", swapped=16)
a.is_wrong("five numbers")(lambda: RIGHT[:5])
a.is_wrong("in words")(lambda: ("128", "0", "4", "4", "2", "2"))
a.is_wrong("nothing")(lambda: None)
