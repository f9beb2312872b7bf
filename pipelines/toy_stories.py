"""The story templates, names and nouns of `toy_problems`: data only."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Story:
    """Sentences with the slots {name}, {other}, {noun}, {n} (an amount) and {k} (a factor)."""

    nouns: tuple[str, ...]
    opening: str
    groups: str
    gains: tuple[str, ...]
    losses: tuple[str, ...]
    times: str
    question: str
    other_question: str


def _english(
    nouns: str, opening: str, groups: str, gains: tuple[str, ...], losses: tuple[str, ...], question: str
) -> Story:
    return Story(
        nouns=tuple(nouns.split()),
        opening=opening,
        groups=groups,
        gains=gains,
        losses=losses,
        times="{other} has {k} times as many {noun} as {name} does now.",
        question=question,
        other_question="How many {noun} does {other} have?",
    )


def _chinese(
    nouns: str, opening: str, groups: str, gains: tuple[str, ...], losses: tuple[str, ...], question: str
) -> Story:
    return Story(
        nouns=tuple(nouns.split()),
        opening=opening,
        groups=groups,
        gains=gains,
        losses=losses,
        times="{other}的{noun}数量是{name}现在的{k}倍。",
        question=question,
        other_question="{other}有多少{noun}？",
    )


_ENGLISH_NAMES = (
    "Tom Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mia Noah Olivia Paul Quinn Rosa Sam "
    "Tina Umar Vera Will Xena Yusuf Zoe Amir Bella Carlos Diana Elif Farid Gita Hugo Ivan Jana Karim Lina Marco"
)
ENGLISH_NAMES = tuple(_ENGLISH_NAMES.split())

ENGLISH_STORIES = (
    _english(
        "apples pears plums oranges lemons",
        "{name} has {n} {noun}.",
        "{name} has {k} bags with {n} {noun} in each bag.",
        ("{other} gives {name} {n} more {noun}.", "{name} finds {n} more {noun}."),
        ("{name} eats {n} {noun}.", "{name} gives {n} {noun} to {other}."),
        "How many {noun} does {name} have now?",
    ),
    _english(
        "stamps coins cards stickers badges",
        "{name} collects {noun} and owns {n} of them.",
        "{name} fills {k} pages of an album with {n} {noun} on each page.",
        ("A friend adds {n} {noun} to the collection.", "{name} buys {n} {noun} at a fair."),
        ("{name} sells {n} {noun}.", "{name} loses {n} {noun} on the way home."),
        "How many {noun} are in the collection?",
    ),
    _english(
        "books comics novels magazines",
        "A shelf in {name}'s room holds {n} {noun}.",
        "{name}'s room has {k} shelves, each holding {n} {noun}.",
        ("{name} puts {n} new {noun} on the shelf.", "{other} brings back {n} {noun}."),
        ("{other} borrows {n} {noun}.", "{name} takes away {n} old {noun}."),
        "How many {noun} are on the shelf in the end?",
    ),
    _english(
        "passengers tourists students workers",
        "A bus driven by {name} leaves with {n} {noun}.",
        "{name} drives {k} rows of seats with {n} {noun} in each row.",
        ("At the next stop {n} {noun} get on.", "{n} {noun} more come aboard."),
        ("At the station {n} {noun} get off.", "{n} {noun} leave the bus."),
        "How many {noun} are on the bus?",
    ),
    _english(
        "cookies muffins cakes rolls pies",
        "{name} bakes {n} {noun} in the morning.",
        "{name} bakes {k} trays of {n} {noun}.",
        ("In the afternoon {name} bakes {n} more.", "{other} bakes {n} {noun} as well."),
        ("Customers buy {n} {noun}.", "The family eats {n} {noun}."),
        "How many {noun} are left?",
    ),
    _english(
        "dollars euros pounds crowns",
        "{name} saves {n} {noun}.",
        "{name} works {k} hours for {n} {noun} an hour.",
        ("{name} earns {n} {noun} more.", "{other} pays {name} {n} {noun}."),
        ("{name} spends {n} {noun} on a gift.", "{name} pays {n} {noun} for lunch."),
        "How many {noun} does {name} have?",
    ),
    _english(
        "sheep goats cows ducks hens",
        "There are {n} {noun} on {name}'s farm.",
        "{name}'s farm has {k} barns with {n} {noun} in each barn.",
        ("{name} buys {n} {noun} at the market.", "{n} {noun} are born in spring."),
        ("{name} sells {n} {noun} to {other}.", "{n} {noun} are moved to another farm."),
        "How many {noun} are on the farm now?",
    ),
    _english(
        "metres steps laps miles",
        "{name} walks {n} {noun} before breakfast.",
        "{name} walks {n} {noun} a day for {k} days.",
        ("{name} walks {n} {noun} further.", "In the evening {name} adds {n} {noun}."),
        ("{n} {noun} of these do not count.", "{name} takes back {n} {noun} from the log."),
        "How many {noun} are in the log?",
    ),
    _english(
        "points goals marks wins",
        "After the first game {name} has {n} {noun}.",
        "{name} plays {k} games and gets {n} {noun} in each.",
        ("{name} scores {n} {noun} more.", "A bonus of {n} {noun} is added."),
        ("A penalty takes away {n} {noun}.", "{name} loses {n} {noun} in the last game."),
        "How many {noun} does {name} have at the end?",
    ),
    _english(
        "flowers roses tulips lilies daisies",
        "{name} plants {n} {noun} in the garden.",
        "{name} plants {k} rows of {n} {noun}.",
        ("{other} plants {n} {noun} more.", "In May {n} new {noun} open."),
        ("Rabbits eat {n} {noun}.", "{name} cuts {n} {noun} for {other}."),
        "How many {noun} stand in the garden?",
    ),
    _english(
        "bricks nails screws boards tiles",
        "A builder named {name} orders {n} {noun}.",
        "A builder named {name} orders {k} boxes of {n} {noun}.",
        ("Another {n} {noun} arrive.", "{other} delivers {n} {noun} more."),
        ("{n} {noun} turn out to be broken.", "The wall uses up {n} {noun}."),
        "How many {noun} can {name} still use?",
    ),
    _english(
        "pencils pens crayons markers",
        "There are {n} {noun} in {name}'s drawer.",
        "{name} has {k} packs of {n} {noun}.",
        ("{name} puts {n} {noun} into the drawer.", "The teacher hands {name} {n} {noun}."),
        ("{other} takes {n} {noun} out.", "{n} {noun} dry out and are thrown away."),
        "How many {noun} remain?",
    ),
    _english(
        "fish crabs shells pebbles",
        "{name} catches {n} {noun} at the sea.",
        "{name} fills {k} buckets with {n} {noun} each.",
        ("Then {name} gets {n} {noun} more.", "{other} shares {n} {noun} with {name}."),
        ("{name} puts {n} {noun} back into the water.", "A wave takes {n} {noun}."),
        "How many {noun} does {name} carry home?",
    ),
    _english(
        "photos videos songs files",
        "{name}'s phone stores {n} {noun}.",
        "{name}'s phone has {k} folders with {n} {noun} in each.",
        ("{name} adds {n} {noun}.", "{other} sends {n} {noun}."),
        ("{name} deletes {n} {noun}.", "{n} {noun} are moved to a computer."),
        "How many {noun} are on the phone?",
    ),
    _english(
        "tickets chairs cups plates lamps",
        "A shop run by {name} has {n} {noun} in stock.",
        "A shop run by {name} receives {k} crates of {n} {noun}.",
        ("A delivery brings {n} {noun}.", "{other} returns {n} {noun}."),
        ("The shop sells {n} {noun}.", "{other} buys {n} {noun}."),
        "How many {noun} does the shop have?",
    ),
    _english(
        "litres buckets jars bottles",
        "A tank at {name}'s house contains {n} {noun} of water.",
        "{name} pours {k} times {n} {noun} of water into an empty tank.",
        ("Rain adds {n} {noun}.", "{name} pours in {n} {noun}."),
        ("{other} uses {n} {noun} for the plants.", "{n} {noun} leak out."),
        "How many {noun} of water are in the tank?",
    ),
)

_CHINESE_NAMES = (
    "小明 小红 小华 小丽 小刚 小芳 小强 小美 小军 小燕 小东 小雪 小龙 小云 小亮 小玲 小杰 小兰 小文 小梅 "
    "王老师 李阿姨 张叔叔 陈爷爷 刘奶奶 赵医生 孙师傅 周同学 吴经理 郑先生 林女士 何教练"
)
CHINESE_NAMES = tuple(_CHINESE_NAMES.split())

CHINESE_STORIES = (
    _chinese(
        "苹果 梨 桃子 橘子 李子",
        "{name}有{n}个{noun}。",
        "{name}有{k}袋{noun}，每袋{n}个。",
        ("{other}又给了{name}{n}个{noun}。", "{name}又找到{n}个{noun}。"),
        ("{name}吃掉了{n}个{noun}。", "{name}送给{other}{n}个{noun}。"),
        "{name}现在有多少个{noun}？",
    ),
    _chinese(
        "邮票 卡片 贴纸 书签",
        "{name}收集了{n}张{noun}。",
        "{name}的册子有{k}页，每页贴{n}张{noun}。",
        ("朋友又送来{n}张{noun}。", "{name}又买了{n}张{noun}。"),
        ("{name}卖掉了{n}张{noun}。", "路上丢了{n}张{noun}。"),
        "{name}一共有多少张{noun}？",
    ),
    _chinese(
        "故事书 漫画书 科技书 字典",
        "{name}的书架上有{n}本{noun}。",
        "{name}的书架有{k}层，每层放{n}本{noun}。",
        ("{name}又放上{n}本{noun}。", "{other}还回来{n}本{noun}。"),
        ("{other}借走了{n}本{noun}。", "{name}拿走了{n}本{noun}。"),
        "书架上还有多少本{noun}？",
    ),
    _chinese(
        "乘客 游客 学生 工人",
        "{name}开的公共汽车上有{n}名{noun}。",
        "{name}开的车上有{k}排座位，每排坐{n}名{noun}。",
        ("到站后上来{n}名{noun}。", "又上来{n}名{noun}。"),
        ("到站后下去{n}名{noun}。", "有{n}名{noun}下车了。"),
        "车上现在有多少名{noun}？",
    ),
    _chinese(
        "蛋糕 面包 饼干 月饼",
        "{name}早上做了{n}个{noun}。",
        "{name}做了{k}盘{noun}，每盘{n}个。",
        ("下午又做了{n}个。", "{other}也做了{n}个{noun}。"),
        ("顾客买走{n}个{noun}。", "家里人吃了{n}个{noun}。"),
        "还剩多少个{noun}？",
    ),
    _chinese(
        "零花钱 工资 奖金 存款",
        "{name}有{n}元{noun}。",
        "{name}工作{k}小时，每小时得到{n}元{noun}。",
        ("{name}又得到{n}元。", "{other}付给{name}{n}元。"),
        ("{name}买礼物花了{n}元。", "{name}吃午饭花了{n}元。"),
        "{name}现在有多少元{noun}？",
    ),
    _chinese(
        "羊 鸭子 鸡 兔子 鹅",
        "{name}的农场有{n}只{noun}。",
        "{name}的农场有{k}个棚，每个棚里有{n}只{noun}。",
        ("{name}又买来{n}只{noun}。", "春天又出生了{n}只{noun}。"),
        ("{name}卖给{other}{n}只{noun}。", "有{n}只{noun}被运走了。"),
        "农场现在有多少只{noun}？",
    ),
    _chinese(
        "公路 山路 小路 跑道",
        "{name}上午走了{n}千米{noun}。",
        "{name}每天走{n}千米{noun}，走了{k}天。",
        ("接着又走了{n}千米。", "下午多走了{n}千米。"),
        ("其中{n}千米不算。", "记录里减去{n}千米。"),
        "{name}的记录是多少千米{noun}？",
    ),
    _chinese(
        "积分 得分 分数",
        "第一场比赛后{name}的{noun}是{n}分。",
        "{name}比赛{k}场，每场得到{n}分{noun}。",
        ("{name}又得了{n}分。", "奖励加上{n}分。"),
        ("罚掉了{n}分。", "最后一场输掉{n}分。"),
        "{name}最后有多少{noun}？",
    ),
    _chinese(
        "玫瑰 菊花 百合 月季",
        "{name}在花园里种了{n}朵{noun}。",
        "{name}种了{k}行{noun}，每行{n}朵。",
        ("{other}又种了{n}朵{noun}。", "五月又开了{n}朵{noun}。"),
        ("兔子吃了{n}朵{noun}。", "{name}剪下{n}朵{noun}送人。"),
        "花园里有多少朵{noun}？",
    ),
    _chinese(
        "砖 瓦 木板 玻璃",
        "{name}订购了{n}块{noun}。",
        "{name}订购了{k}箱{noun}，每箱{n}块。",
        ("又运来{n}块{noun}。", "{other}送来{n}块{noun}。"),
        ("有{n}块{noun}是坏的。", "砌墙用掉{n}块{noun}。"),
        "{name}还能用多少块{noun}？",
    ),
    _chinese(
        "铅笔 钢笔 蜡笔 毛笔",
        "{name}的抽屉里有{n}支{noun}。",
        "{name}有{k}盒{noun}，每盒{n}支。",
        ("{name}又放进{n}支{noun}。", "老师发给{name}{n}支{noun}。"),
        ("{other}拿走{n}支{noun}。", "有{n}支{noun}用完了。"),
        "还剩多少支{noun}？",
    ),
    _chinese(
        "鱼 虾 螃蟹 泥鳅",
        "{name}在河边抓到{n}条{noun}。",
        "{name}装了{k}桶{noun}，每桶{n}条。",
        ("然后又抓到{n}条。", "{other}分给{name}{n}条{noun}。"),
        ("{name}放回水里{n}条{noun}。", "有{n}条{noun}跑掉了。"),
        "{name}带回家多少条{noun}？",
    ),
    _chinese(
        "照片 图片 海报 地图",
        "{name}的手机里有{n}张{noun}。",
        "{name}的手机有{k}个相册，每个相册有{n}张{noun}。",
        ("{name}又存了{n}张{noun}。", "{other}发来{n}张{noun}。"),
        ("{name}删掉{n}张{noun}。", "有{n}张{noun}移到电脑上。"),
        "手机里有多少张{noun}？",
    ),
    _chinese(
        "椅子 桌子 雨伞 剪刀",
        "{name}的商店里有{n}把{noun}。",
        "{name}的商店进了{k}箱{noun}，每箱{n}把。",
        ("又运来{n}把{noun}。", "{other}退回{n}把{noun}。"),
        ("商店卖出{n}把{noun}。", "{other}买走{n}把{noun}。"),
        "商店里有多少把{noun}？",
    ),
    _chinese(
        "水 牛奶 果汁 油",
        "{name}家的桶里有{n}升{noun}。",
        "{name}往空桶里倒了{k}次{noun}，每次{n}升。",
        ("又倒进{n}升{noun}。", "{other}加了{n}升{noun}。"),
        ("{other}用掉{n}升{noun}。", "漏掉了{n}升{noun}。"),
        "桶里有多少升{noun}？",
    ),
)
